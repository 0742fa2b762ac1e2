"""divebell worth."""

from dataclasses import asdict, replace
from math import isinf
from time import strftime
from typing import Any

from divebell.cli.output import print_fields, print_json, print_table
from divebell.config import format_bytes
from divebell.errors import BadInput

CONTEXT = 4096


def worth(
    *,
    price: str | None = None,
    model: str | None = None,
    hardware: str = "this",
    batch: int = 1,
    prompt_tokens: float | None = None,
    cached_tokens: float = 0,
    answer_tokens: float | None = None,
    json: bool = False,
) -> None:
    """Own or rent: what a day's tokens cost here and at an API's price, with the break-even and the sum line by line.

    Without other options it takes what the ledger has (see `divebell receipts`). With --model it takes the speeds of
    `divebell plan`, so that a machine can be judged before it is bought. Your tariff and the machine's price come from
    costs.toml.

    Parameters
    ----------
    price
        the API to compare with, by its name in the price list; by default the first of costs.toml
    model
        a model or config.json to plan for, instead of the ledger
    hardware
        this, or one of the catalogue (divebell plan --hardware list)
    batch
        answers that are decoded together
    prompt_tokens
        tokens of prompts a day
    cached_tokens
        of them, those that need no computing
    answer_tokens
        tokens of answers a day
    json
        print a JSON object
    """
    from divebell.costs import ledger, prices, settings, worth

    own, damage = settings.load(), []
    chosen = prices.price(price or own.prices[0])
    if model:
        load = worth.Load(_given("prompt", prompt_tokens), cached_tokens, _given("answer", answer_tokens))
        machine = _planned(load, model, hardware, batch, own)
    elif hardware != "this" or batch != 1 or cached_tokens:
        raise BadInput("--hardware, --batch and --cached-tokens describe a plan; give its --model too")
    else:
        damage = ledger.damage(ledger.place())
        load, machine = worth.from_ledger(ledger.receipts(ledger.place()), own)
        load, machine = _scaled(load, machine, prompt_tokens, answer_tokens)
    found = worth.judge(load, machine, chosen, own)
    missing = _missing(machine, own)
    figures = {"load": asdict(load), "machine": asdict(machine), "price": asdict(chosen), "assumed": missing}
    figures |= {"damage": damage, "price_ended": chosen.ended(strftime("%Y-%m-%d"))}
    print_json(_finite(figures | asdict(found))) if json else _show(figures, found, own)


def _missing(machine: Any, own: Any) -> list[str]:
    """Fields of the person's that the sum would need. The tariff is not, where the machine is hired."""
    if machine.hourly is not None:
        return []
    needed = {"dollars_per_kwh": True, "dollars": machine.dollars is None, "idle_watts": machine.idle_watts == 0}
    return [name for name, need in needed.items() if need and name in own.assumed]


def _given(name: str, tokens: float | None) -> float:
    if tokens is None:
        raise BadInput(f"--model needs the day's load as well: --{name}-tokens is missing")
    return tokens


def _scaled(load: Any, machine: Any, prompt: float | None, answered: float | None) -> tuple[Any, Any]:
    """The ledger's mean answer, as many times a day as makes the tokens that are asked for."""
    if prompt is None and answered is None:
        return load, machine
    wanted = (load.prompt if prompt is None else prompt) + (load.answered if answered is None else answered)
    times = wanted / load.tokens if load.tokens else 0.0
    load = replace(load, **{name: value * times for name, value in asdict(load).items()})
    return load, replace(machine, busy_seconds=machine.busy_seconds * times, joules=machine.joules * times)


def _planned(load: Any, model: str, hardware: str, batch: int, own: Any) -> Any:
    from divebell.cli.plan import planned
    from divebell.costs.energy import IDLE_SHARE, watts
    from divebell.costs.worth import Machine

    if batch < 1:
        raise BadInput(f"--batch is {batch}; it must be 1 or more")
    found, shape, sizes, speeds = planned(model, hardware, None, [CONTEXT], [batch], own)
    _check_fits(model, found, next(row for sized, row in sizes if sized is shape), batch)
    rates = {speed.kind: speed.tokens_per_s for speed in speeds}
    if not rates:
        raise BadInput(f"{model} has no room for {CONTEXT} tokens of context, for which speeds are taken")
    seconds = (load.prompt - load.cached) / rates["prompt"] + load.answered / rates["decode"]
    basis = f"a plan of {model} on {found.name} at {CONTEXT} tokens of context"
    if found.dollars_per_hour is not None:
        return Machine(0.0, own.years, 0.0, seconds, 0.0, basis, found.dollars_per_hour)
    dollars = _price(found, own)
    if found.watts is None:
        raise BadInput(f"the power of {found.name} is not published; its cost can't be told")
    idle = watts(own)[1] if hardware == "this" else IDLE_SHARE * found.watts
    return Machine(dollars, own.years, idle, seconds, (found.watts - idle) * seconds, basis)


def _check_fits(model: str, machine: Any, size: dict[str, Any], batch: int) -> None:
    if not size["fits"]:
        weights, memory, there = (format_bytes(int(b)) for b in (size["bytes"], size["memory"], machine.memory))
        raise BadInput(
            f"{model} does not fit {machine.name}: its smallest weights ({size['format']}) take {weights}, and "
            f"{memory} with workspace and the cache of {batch:,} x {CONTEXT:,} tokens, of {there}; "
            "take a lower --batch or other --hardware"
        )


def _price(machine: Any, own: Any) -> float | None:
    from divebell.costs.settings import place

    if machine.dollars is not None:
        return machine.dollars
    if "dollars" in own.assumed and not machine.name.startswith("this"):
        told = f"the price of {machine.name} is not in the catalogue; give yours as hardware.dollars in {place()}"
        raise BadInput(told)
    return None if "dollars" in own.assumed else own.dollars


def _finite(value: Any) -> Any:
    """JSON has no infinity: null."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and isinf(value) else value


def _show(figures: dict[str, Any], found: Any, own: Any) -> None:
    from divebell.costs.settings import not_given
    from divebell.costs.worth import MONTH

    load = figures["load"]
    print(f"{found.verdict}: " + ", ".join(f"{name} ${d * MONTH:,.2f}" for name, d in _told(found)) + " a month")
    if found.condition:
        print(f"  {found.condition}")
    print()
    day = f"{load['prompt']:,.0f} prompt tokens, {load['cached']:,.0f} of them cached, {load['answered']:,.0f} answered"
    even = "never" if found.break_even is None else f"{found.break_even:,.0f} tokens a day"
    even += ", the machine's price left out" if figures["machine"]["dollars"] is None else ""
    capacity = "no limit known" if isinf(found.capacity) else f"{found.capacity:,.0f} tokens a day"
    print_fields([("a day", day), ("from", figures["machine"]["basis"]), ("break-even", even), ("at most", capacity)])
    print_table(("", "sum", "$ a day"), [(line.what, line.sum, f"{line.dollars:.6f}") for line in found.lines])
    print("What would change it:")
    for change in found.changes:
        print(f"  {change}")
    if missing := not_given(figures["assumed"]):
        print(missing)
    if figures["price_ended"]:
        price = figures["price"]
        print(f"{price['model']} was on offer at this price until {price['until']}, so not any more")
    if figures["damage"]:
        print(f"the ledger is damaged, so the day may not be true: {'; '.join(figures['damage'])}")


def _told(found: Any) -> list[tuple[str, float]]:
    return [(name, dollars) for name, dollars in found.dollars.items() if not isinf(dollars)]

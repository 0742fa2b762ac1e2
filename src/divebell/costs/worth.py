"""Own, rent or both: what a day's tokens cost on one's own machine and at an API's price, line by line.

Everything but the machine's price and its idle power grows with the tokens, so the break-even is a straight line's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from divebell.costs.prices import Price
from divebell.costs.settings import Settings
from divebell.errors import BadInput

DAY, MONTH = 86400.0, 365.25 / 12


@dataclass(frozen=True, slots=True)
class Load:
    """Tokens of a day: of prompts, of them cached, of answers."""

    prompt: float
    cached: float
    answered: float

    @property
    def tokens(self) -> float:
        return self.prompt + self.answered


@dataclass(frozen=True, slots=True)
class Machine:
    """dollars, years: its price, None where not known, and life. idle_watts: all day. busy_seconds, joules: of a day's
    load, beyond idle.

    basis: where the figures are from. hourly: dollars an hour of one that is hired, with its power, instead of bought.
    """

    dollars: float | None
    years: float
    idle_watts: float
    busy_seconds: float
    joules: float
    basis: str
    hourly: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A term of the sum. dollars: a day."""

    what: str
    sum: str
    dollars: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """verdict: "own", "rent" or "mix". dollars: a day of each; infinite where the machine is too slow for it.

    break_even: tokens a day from which owning is cheaper, at this mixture of prompts and answers; None: none.
    capacity: tokens a day that the machine can do. changes: what would turn the verdict round, in sentences.
    condition: what the verdict takes for granted; without the machine's price all is told as if it were a present.
    """

    verdict: str
    dollars: Mapping[str, float]
    break_even: float | None
    capacity: float
    lines: Sequence[Line]
    changes: Sequence[str]
    condition: str = ""


def judge(load: Load, machine: Machine, price: Price, own: Settings) -> Verdict:
    """Raises BadInput for a load of no tokens."""
    if not 0 < load.tokens < inf or min(load.prompt, load.cached, load.answered) < 0 or load.cached > load.prompt:
        raise BadInput(
            f"a day of {load.prompt:g} prompt tokens, {load.cached:g} of them cached, and {load.answered:g} of answers "
            "is no load; each must be 0 or more, and no more cached than there are"
        )
    lines = _lines(load, machine, price, own)
    wear, idle, work, rent = (line.dollars for line in lines)
    fixed, share = wear + idle, _share(machine)
    dollars = {"own": fixed + work if share >= 1 else inf, "rent": rent}
    dollars["mix"] = inf if share >= 1 else fixed + work * share + rent * (1 - share)
    even = fixed / (rent - work) if rent > work else None
    break_even = None if even is None or even > share else even * load.tokens
    verdict = min(dollars, key=dollars.__getitem__)
    changes = _changes(machine, own, lines, load, break_even, share)
    condition = _condition(machine, verdict, _worth(share, rent, work, idle))
    return Verdict(verdict, dollars, break_even, share * load.tokens, lines, changes, condition)


def _condition(machine: Machine, verdict: str, left: float) -> str:
    """left: dollars a day that the machine may cost."""
    if machine.dollars is not None or machine.hourly is not None:
        return ""
    if verdict == "rent":
        return "even if the machine were a present; its price is not given"
    return f"if the machine costs less than ${left * machine.years * 365.25:,.0f}; its price is not given"


def _share(machine: Machine) -> float:
    """Of the load that fits into a day; more than 1 where there is room."""
    return DAY / machine.busy_seconds if machine.busy_seconds > 0 else inf


def _worth(share: float, rent: float, work: float, idle: float) -> float:
    """Dollars a day that the machine may cost: what it saves of the rent on what it can do."""
    return min(share, 1.0) * (rent - work) - idle


def _lines(load: Load, machine: Machine, price: Price, own: Settings) -> list[Line]:
    tariff = own.dollars_per_kwh
    hit = price.input if price.cached is None else price.cached
    rent = (load.cached * hit + (load.prompt - load.cached) * price.input + load.answered * price.output) / 1e6
    missed = load.prompt - load.cached
    return [
        _machine_line(machine),
        Line(
            "idle power",
            f"{machine.idle_watts:.0f} W x 24 h x ${tariff:g}/kWh",
            machine.idle_watts * DAY * own.dollars_per_joule,
        ),
        Line("work", f"{machine.joules / 3.6e6:.3g} kWh x ${tariff:g}/kWh", machine.joules * own.dollars_per_joule),
        Line(
            f"{price.model} ({price.provider}, {price.dated})",
            f"({load.cached:,.0f} x ${hit:g} + {missed:,.0f} x ${price.input:g} + "
            f"{load.answered:,.0f} x ${price.output:g}) / 1e6",
            rent,
        ),
    ]


def _machine_line(machine: Machine) -> Line:
    if machine.hourly is not None:
        return Line("hire of the machine, power included", f"24 h x ${machine.hourly:g}", 24 * machine.hourly)
    if machine.dollars is None:
        return Line("wear", "left out: the machine's price is not given", 0.0)
    days = machine.years * 365.25
    return Line("wear", f"${machine.dollars:,.0f} / {days:,.0f} days", machine.dollars / days)


def _changes(
    machine: Machine, own: Settings, lines: list[Line], load: Load, break_even: float | None, share: float
) -> list[str]:
    wear, idle, work, rent = (line.dollars for line in lines)
    told = [_of_load(load, break_even, rent > work, share)]
    told += [_of_price(machine, _worth(share, rent, work, idle)), *_of_tariff(machine, own, rent - wear)]
    if rent > 0:
        told.append(f"the API's prices: at {(wear + idle + work) / rent:.3g} times what they are")
    return told


def _of_price(machine: Machine, left: float) -> str:
    """left: dollars a day that the machine may cost."""
    if machine.hourly is not None:
        return f"the hire of the machine: at ${left / 24:,.3g} an hour it costs as much as the API"
    if left <= 0:
        return "the price of the machine: even as a present it would cost more than renting, by its power"
    return f"the price of the machine: at ${left * machine.years * 365.25:,.0f} owning costs as much as renting"


def _of_tariff(machine: Machine, own: Settings, left: float) -> list[str]:
    """left: dollars a day that its power may cost."""
    kwh = (machine.idle_watts * DAY + machine.joules) / 3.6e6
    if left > 0 and kwh > 0:
        return [f"the tariff: at ${left / kwh:.3g}/kWh instead of ${own.dollars_per_kwh:g}"]
    return [] if machine.hourly is not None else ["the tariff: no, wear alone costs more than renting"]


def _of_load(load: Load, break_even: float | None, cheaper: bool, share: float) -> str:
    if not cheaper:
        return "the load: no, the work of a token alone costs more power than the API asks for it"
    if break_even is None:
        most = share * load.tokens
        return f"the load: no, a day at full speed is {most:,.0f} tokens, too few to pay for the machine"
    return f"the load: owning is cheaper from {break_even:,.0f} tokens a day (it is {load.tokens:,.0f})"


def from_ledger(rows: Sequence[Mapping[str, Any]], own: Settings) -> tuple[Load, Machine]:
    """A day's mean of the answers in a ledger; one that is younger than a day counts as a day's.

    Raises BadInput where there are no answers.
    """
    answers = [row for row in rows if row.get("kind") == "answer"]
    if not answers:
        raise BadInput(
            "the ledger has no answers yet; describe a day instead: --model MODEL --prompt-tokens N --answer-tokens N"
        )
    times = [row["time"] for row in answers]
    days = max((max(times) - min(times)) / DAY, 1.0)
    sums = {name: sum(row[name] for row in answers) / days for name in _NAMES}
    load = Load(sums["prompt_tokens"], sums["cached_tokens"], sums["completion_tokens"])
    seconds, watts = sums["shared_seconds"], _idle_watts(rows, days, own)
    basis = f"{len(answers):,} answers in the ledger over {days:.1f} days, {answers[-1]['method']}"
    price = None if "dollars" in own.assumed else own.dollars
    machine = Machine(price, own.years, watts, seconds, max(sums["joules"] - watts * seconds, 0.0), basis)
    return load, machine


def _idle_watts(rows: Sequence[Mapping[str, Any]], days: float, own: Settings) -> float:
    """The person's own; else what answers have of it; else what was metered outside of steps, where the rows have no
    seconds as the mean of the days; 0 where there is nothing."""
    if own.idle_watts is not None:
        return own.idle_watts
    known = [row for row in rows if row.get("idle_joules")]
    if seconds := sum(row["shared_seconds"] for row in known):
        return sum(row["idle_joules"] for row in known) / seconds
    idle = [row for row in rows if row.get("kind") == "idle"]
    seconds = sum(row.get("shared_seconds", 0.0) for row in idle) or days * DAY
    return sum(row["joules"] for row in idle) / seconds


_NAMES = ("prompt_tokens", "cached_tokens", "completion_tokens", "shared_seconds", "joules")

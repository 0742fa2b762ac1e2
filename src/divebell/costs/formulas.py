"""How a plan's figures come about, with the numbers that are put in."""

from divebell.costs.hardware import REACHED, Hardware
from divebell.costs.settings import Settings
from divebell.costs.shape import Shape


def formulas(shape: Shape, machine: Hardware, settings: Settings) -> list[str]:
    """Sentences: of memory, of a step's floor, of its time, of money."""
    read = f"{machine.read / 1e9:,.1f} GB/s"
    return [
        "with cache = weights + batch x (cache for each token x context + cache for each sequence) + 1 GiB",
        "bytes of a step = weights outside experts + (1 - (1 - k/E)^T) x experts' weights + cache; T = tokens x batch",
        f"floor: seconds of a step = max(bytes / {read}, sum of multiply-adds / rate); {_rates(machine)}",
        f"tokens/s = T / seconds of a step, {_seconds(shape, machine)}",
        f"$/M tokens = seconds of a token x 10^6 x {_dollars(machine, settings)}",
    ]


def _rates(machine: Hardware) -> str:
    return ", ".join(f"{kind} {rate / 1e12:,.4g} x 10^12/s" for kind, rate in machine.rates.items())


def _seconds(shape: Shape, machine: Hardware) -> str:
    if machine.name.startswith("this") and shape.source is not None:
        return "rehearsed: layers of each kind run here x how many there are, and the head"
    reading, arithmetic = REACHED[machine.kind]
    return f"the floor's at {reading:.0%} of the bandwidth and {arithmetic:.0%} of the rates"


def _dollars(machine: Hardware, settings: Settings) -> str:
    if machine.dollars_per_hour is not None:
        return f"${machine.dollars_per_hour:g} an hour / 3600"
    watts = f"{machine.watts:.0f} W" if machine.watts is not None else "power (not published)"
    price = f"${machine.dollars:,.0f}" if machine.dollars is not None else "price (not known)"
    return f"({watts} x ${settings.dollars_per_kwh:g}/kWh + {price} / {settings.years:g} years)"

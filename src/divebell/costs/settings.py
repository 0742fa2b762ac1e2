"""The person's own figures: ~/.config/divebell/costs.toml, every field checked; what is missing is assumed, and said.

[electricity]
dollars_per_kwh = 0.20        # your tariff
place = "DEU"                 # ISO code of the grid
grams_per_kwh = 381           # instead of a place, if your supplier says
[hardware]
dollars = 1500                # price of the machine
years = 5                     # how long it will serve
watts = 120                   # while it computes; for the estimate where nothing is metered
idle_watts = 40
[meter]
command = "read-my-plug"      # prints watts
[compare]
prices = ["deepseek-v4-flash"]
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from divebell.errors import BadFile

YEAR = 365.25 * 86400
_FIELDS = {
    "electricity": {"dollars_per_kwh": float, "place": str, "grams_per_kwh": float},
    "hardware": {"dollars": float, "years": float, "watts": float, "idle_watts": float},
    "meter": {"command": str},
    "compare": {"prices": list},
}
_ALLOWED = {str: "a text", list: "a list of texts"}


@dataclass(frozen=True, slots=True)
class Settings:
    """assumed: names of the fields that the person did not give. grams_per_kwh: None: by `place`."""

    dollars_per_kwh: float = 0.20
    place: str = "WORLD"
    grams_per_kwh: float | None = None
    dollars: float = 0.0
    years: float = 5.0
    watts: float | None = None
    idle_watts: float | None = None
    command: str | None = None
    prices: tuple[str, ...] = ("deepseek-v4-flash", "deepseek-v3.2", "gpt-4o-mini")
    assumed: tuple[str, ...] = field(default=())

    @property
    def dollars_per_joule(self) -> float:
        return self.dollars_per_kwh / 3.6e6

    @property
    def life_seconds(self) -> float:
        return self.years * YEAR


def place() -> Path:
    """DIVEBELL_COSTS, or costs.toml in divebell's folder of XDG_CONFIG_HOME, ~/.config."""
    if own := os.environ.get("DIVEBELL_COSTS"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config").expanduser() / "divebell" / "costs.toml"


def not_given(names: Sequence[str]) -> str:
    """The sentence about fields that a figure would need; empty where none is missing."""
    return f"not given, so assumed or left out: {', '.join(names)} (see {place()})" if names else ""


def state() -> Path:
    """Where receipts and measurements are kept: divebell's folder of XDG_STATE_HOME, ~/.local/state."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state").expanduser() / "divebell"


def load(path: Path | None = None) -> Settings:
    """Raises BadFile naming the field."""
    path = path or place()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        values = {}
    except (ValueError, OSError) as problem:
        raise BadFile(path, "the file", f"can't be read as TOML: {problem}") from None
    return _checked(values, path)


def _checked(values: Mapping[str, Any], path: Path) -> Settings:
    given: dict[str, Any] = {}
    for section, fields in values.items():
        if section not in _FIELDS or not isinstance(fields, Mapping):
            raise BadFile(path, section, f"is not a section; known: {', '.join(_FIELDS)}")
        for name, value in fields.items():
            given[name] = _field(path, section, name, value)
    _check_known(path, given)
    every = [name for fields in _FIELDS.values() for name in fields]
    return Settings(**given, assumed=tuple(name for name in every if name not in given))


def _field(path: Path, section: str, name: str, value: Any) -> Any:
    full, kind = f"{section}.{name}", _FIELDS[section].get(name)
    if kind is None:
        raise BadFile(path, full, f"is not known; known: {', '.join(_FIELDS[section])}")
    if kind is float:
        return _number(path, full, value)
    if not value or not isinstance(value, kind) or not all(isinstance(item, str) for item in value):
        raise BadFile(path, full, f"is {value!r}; it must be {_ALLOWED[kind]}")
    return value if kind is str else tuple(value)


def _number(path: Path, full: str, value: Any) -> float:
    least = 1e-3 if full == "hardware.years" else 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < 1e9:
        raise BadFile(path, full, f"is {value!r}; it must be a number, at least {least:g}")
    return float(value)


def _check_known(path: Path, given: Mapping[str, Any]) -> None:
    from divebell.costs import carbon, prices

    codes = carbon.grids()
    if given.get("place", "WORLD") not in codes:
        raise BadFile(path, "electricity.place", f"is {given['place']!r}; known: {', '.join(codes)}")
    known = {price.model for price in prices.prices()}
    for name in given.get("prices", ()):
        if name not in known:
            raise BadFile(path, "compare.prices", f"has {name!r}; known: {', '.join(sorted(known))}")

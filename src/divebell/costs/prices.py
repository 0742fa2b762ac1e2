"""Dated prices of APIs, in dollars for a million tokens: prices.csv, each row with its source and date."""

from dataclasses import dataclass
from functools import cache
from math import inf

from divebell.costs.table import rows
from divebell.errors import BadInput


@dataclass(frozen=True, slots=True)
class Price:
    """input, cached, output: dollars for 10^6 tokens. cached: None where the list has no price for cached ones.

    note: what limits it, or "second-hand". date: when the list was seen, or was valid from. since, until: days from and
    to which it was on offer, as 2025-09-05; empty where not known.
    """

    model: str
    provider: str
    cached: float | None
    input: float
    output: float
    note: str
    source: str
    date: str
    since: str = ""
    until: str = ""

    @property
    def dated(self) -> str:
        """Its list's date, and what limits it."""
        return "; ".join(filter(None, (self.date, self.until and f"until {self.until}", self.note)))

    def ended(self, day: str) -> bool:
        return bool(self.until) and self.until < day

    def cost(self, prompt: int, cached: int, output: int) -> float:
        """Dollars for a prompt, of which `cached` tokens are charged as such, and its answer."""
        hit = self.input if self.cached is None else self.cached
        return (cached * hit + (prompt - cached) * self.input + output * self.output) / 1e6


@cache
def prices() -> tuple[Price, ...]:
    return tuple(_price(row) for row in rows("divebell.costs", "prices"))


def price(model: str) -> Price:
    """BadInput names the known ones."""
    known = {price.model: price for price in prices()}
    if model not in known:
        raise BadInput(f"there is no price of {model!r}; known: {', '.join(known)}")
    return known[model]


def stated(text: str) -> Price:
    """Of a person's own: dollars for 10^6 tokens read and written, as 0.27,1.10. Raises BadInput."""
    try:
        read, written = (float(part) for part in text.split(","))
    except ValueError:
        read = written = -1.0
    if not (0 <= read < inf and 0 <= written < inf):
        raise BadInput(f"price is {text!r}; give dollars for 10^6 tokens read and written, such as 0.27,1.10")
    return Price("stated", "stated", None, read, written, "", "the command line", "")


def _price(row: dict[str, str]) -> Price:
    cached = float(row["cached"]) if row["cached"] else None
    words = {key: row[key] for key in ("model", "provider", "note", "source", "date", "until")} | {"since": row["from"]}
    return Price(cached=cached, input=float(row["input"]), output=float(row["output"]), **words)

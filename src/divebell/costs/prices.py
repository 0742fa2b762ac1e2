"""Dated prices of APIs, in dollars for a million tokens: prices.csv, each row with its source and date."""

from dataclasses import dataclass
from functools import cache

from divebell.costs.table import rows
from divebell.errors import BadInput


@dataclass(frozen=True, slots=True)
class Price:
    """input, cached, output: dollars for 10^6 tokens. cached: None where the list has no price for cached ones.

    note: what limits it, or "second-hand". date: when the list was seen, or was valid from.
    """

    model: str
    provider: str
    cached: float | None
    input: float
    output: float
    note: str
    source: str
    date: str

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


def _price(row: dict[str, str]) -> Price:
    cached = float(row["cached"]) if row["cached"] else None
    words = {key: row[key] for key in ("model", "provider", "note", "source", "date")}
    return Price(cached=cached, input=float(row["input"]), output=float(row["output"]), **words)

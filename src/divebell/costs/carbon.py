"""Grams of CO2 for a kilowatt-hour, by grid and year: grid.csv, each row with its source."""

from dataclasses import dataclass
from functools import cache

from divebell.costs.settings import Settings
from divebell.costs.table import rows


@dataclass(frozen=True, slots=True)
class Grid:
    """grams_per_kwh: CO2 equivalents over the life cycle, mean of `year`; year 0: given by the person."""

    code: str
    place: str
    grams_per_kwh: float
    year: int
    source: str

    def grams(self, joules: float) -> float:
        return joules / 3.6e6 * self.grams_per_kwh


@cache
def grids() -> dict[str, Grid]:
    return {row["code"]: _grid(row) for row in rows("divebell.costs", "grid")}


def _grid(row: dict[str, str]) -> Grid:
    return Grid(row["code"], row["place"], float(row["grams_per_kwh"]), int(row["year"]), row["source"])


def grid(settings: Settings) -> Grid:
    """The person's own figure, or that of their place; of the world where neither is given."""
    found = grids()[settings.place]
    if settings.grams_per_kwh is None:
        return found
    return Grid(found.code, found.place, settings.grams_per_kwh, 0, "settings")

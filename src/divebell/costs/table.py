"""Tables of cited figures: CSV files that lie in a package."""

from csv import DictReader
from importlib.resources import files


def rows(package: str, name: str) -> list[dict[str, str]]:
    """Of NAME.csv, by column."""
    with (files(package) / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(DictReader(file))

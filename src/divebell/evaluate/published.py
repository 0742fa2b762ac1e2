"""Figures that makers published, from published.csv, each with its source, harness and date."""

import re
from dataclasses import dataclass
from functools import cache

from divebell.costs.table import rows


@dataclass(frozen=True, slots=True)
class Published:
    """value: %. harness: how it was measured, as far as the source tells. date: of the source."""

    model: str
    benchmark: str
    value: float
    harness: str
    source: str
    date: str


def published(model: str, benchmark: str) -> list[Published]:
    """Of the model whose name is in `model`, a path or a hub id; the longest name counts, as many begin alike."""
    given = _letters(model)
    names = {one.model for one in _figures() if _letters(one.model) in given}
    name = max(names, key=len, default="")
    return [one for one in _figures() if one.model == name and one.benchmark == benchmark]


@cache
def _figures() -> tuple[Published, ...]:
    return tuple(Published(**row | {"value": float(row["value"])}) for row in rows("divebell.evaluate", "published"))


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower())

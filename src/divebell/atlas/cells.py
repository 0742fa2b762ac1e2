"""The atlas: models by fields, every cell a value or "not published", with source and date.

models.csv, cells.csv, sources.csv and claims.csv hold it; prices come from divebell's own price lists.
"""

import re
from dataclasses import dataclass
from functools import cache

from divebell.costs.prices import price
from divebell.costs.table import rows
from divebell.errors import BadInput

NOT_PUBLISHED = "not published"
FIELDS = {
    "type": "",
    "licence": "",
    "parameters": "",
    "active": "for each token",
    "context": "tokens",
    "training_tokens": "tokens",
    "hardware": "",
    "price_input": "$ for 10^6 tokens",
    "price_output": "$ for 10^6 tokens",
    "mmlu": "%",
    "code": "%",
    "multilingual": "%",
    "gpu_hours": "hours",
    "carbon": "t CO2eq",
}
WORDS = ("type", "licence", "hardware")


@dataclass(frozen=True, slots=True)
class Source:
    """date: of the document where it has one, else when it was read (ISO 8601)."""

    title: str
    url: str
    date: str


@dataclass(frozen=True, slots=True)
class Cell:
    """value: None where it is not published, which the source tells by saying nothing. formula: of a derived one."""

    value: float | str | None
    source: Source
    note: str = ""
    formula: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """cells: of all FIELDS."""

    name: str
    title: str
    cells: dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Claim:
    """What the article that asked for this comparison says, and what its subject's makers published."""

    subject: str
    claimed: str
    true: str
    source: Source
    note: str


@cache
def atlas() -> tuple[Model, ...]:
    cells: dict[str, dict[str, Cell]] = {}
    for row in rows("divebell.atlas", "cells"):
        cell = Cell(_value(row["field"], row["value"]), source(row["source"]), row["note"])
        cells.setdefault(row["model"], {})[row["field"]] = cell
    return tuple(_model(row, cells[row["model"]]) for row in rows("divebell.atlas", "models"))


def chosen(names: tuple[str, ...]) -> tuple[Model, ...]:
    """The models of these names, all of them for none; BadInput names the known ones."""
    known = {model.name: model for model in atlas()}
    if unknown := [name for name in names if name not in known]:
        raise BadInput(f"the atlas has no {unknown[0]!r}; known: {', '.join(known)}")
    return tuple(known[name] for name in names) or atlas()


@cache
def claims() -> tuple[Claim, ...]:
    return tuple(Claim(**row | {"source": source(row["source"])}) for row in rows("divebell.atlas", "claims"))


def source(key: str) -> Source:
    return _sources()[key]


@cache
def _sources() -> dict[str, Source]:
    return {row["key"]: Source(row["title"], row["url"], row["date"]) for row in rows("divebell.atlas", "sources")}


def _model(row: dict[str, str], cells: dict[str, Cell]) -> Model:
    cells = _prices(row["price"], cells["licence"].source) | cells
    return Model(row["model"], row["title"], {field: cells[field] for field in FIELDS})


def _prices(name: str, maker: Source) -> dict[str, Cell]:
    """name: in the price list; "" for a model whose maker sells no tokens of it."""
    if not name:
        none = Cell(None, maker, "no price list of its maker's")
        return {"price_input": none, "price_output": none}
    listed = price(name)
    of = Source(f"{listed.provider}: {listed.source}", _url(listed.source), listed.date)
    cached = "" if listed.cached is None else f"cached {listed.cached:g}"
    note = "; ".join(filter(None, (listed.note, cached)))
    return {"price_input": Cell(listed.input, of, note), "price_output": Cell(listed.output, of, listed.note)}


def _url(source: str) -> str:
    """Of a source that begins with an address, as price lists write it: without https://."""
    address = source.partition(",")[0]
    return f"https://{address}" if re.fullmatch(r"[\w-]+(\.[\w-]+)+(/[\w./-]+)?", address) else ""


def _value(field: str, text: str) -> float | str | None:
    if text == NOT_PUBLISHED:
        return None
    return text if field in WORDS else float(text)

"""Figures for people and for programs: a table, or one JSON object on stdout."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

WIDEST = 1000


def print_json(figures: object) -> None:
    """One JSON value, indented, on stdout. Takes numpy's numbers and arrays, paths and sets as well."""
    json.dump(figures, sys.stdout, indent=2, default=_plain, allow_nan=False, ensure_ascii=False)
    sys.stdout.write("\n")


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]], title: str = "", fold: bool = True) -> None:
    """A table on stdout; cells that are numbers line up on the right.

    fold: breaks cells to the width of a terminal. What goes to a file or a pipe is never broken.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    rows = [list(row) for row in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for index, column in enumerate(columns):
        numeric = all(isinstance(row[index], int | float | np.number) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*map(_cell, row))
    if title:
        print(title)
    width = None if fold and sys.stdout.isatty() else WIDEST
    Console(highlight=False, markup=False, width=width).print(table)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Names and values, one pair to a line, on stdout."""
    fields = [(name, value) for name, value in fields if value is not None]
    width = max((len(name) for name, _ in fields), default=0)
    for name, value in fields:
        print(f"{name:<{width}}  {_cell(value)}")


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    return _significant(float(value)) if isinstance(value, float | np.floating) else str(value)


def _significant(value: float) -> str:
    """Three figures, more where the whole part has more; never an exponent."""
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:,.{max(0, 3 - whole)}f}"


def counted(count: float, unit: str = "") -> str:
    """15.7 B, 134.5 M, 3.0 k: how parameters are usually counted."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f} {letter}{unit}"
    return f"{count:g}{' ' + unit if unit else ''}"

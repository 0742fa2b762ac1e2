"""Answers of earlier runs, read from their journals as they are: the scores of one model's files."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from divebell.evaluate.intervals import Interval
from divebell.evaluate.journal import FIELDS, Row
from divebell.evaluate.results import by_question, headline, ordered
from divebell.evaluate.tasks import family


@dataclass(frozen=True, slots=True)
class Kept:
    """One benchmark's, of one run. settings: those of its journal. date: of its last answer (ISO 8601)."""

    benchmark: str
    metric: str
    questions: int
    interval: Interval
    settings: dict[str, Any]
    date: str


def kept(folder: Path, files: Collection[str]) -> list[Kept]:
    """Of the journals in `folder` whose model consists of some of these files, by the identities that
    `engine.identity` gives; metrics that are no shares are left out."""
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        settings, rows = _read(path)
        own = _member(_member(settings, "model"), "files")
        if own and set(own.values()) <= set(files):
            date = datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()
            found += [Kept(*figures, settings, date) for figures in _scores(rows)]
    return found


def _read(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """A line that is damaged is left out; the run that goes on there tells it."""
    with path.open("rb") as file:
        lines = [_object(line) for line in file]
    rows = {(row["task"], row["id"], row["sample"]): row for row in lines[1:] if row.keys() >= FIELDS and row["scores"]}
    return _member(lines[0] if lines else {}, "settings"), list(rows.values())


def _member(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _scores(rows: list[Row]) -> Iterator[tuple[str, str, int, Interval]]:
    benchmarks: dict[str, list[Row]] = {}
    for row in rows:
        benchmarks.setdefault(family(row["task"]), []).append(row)
    for name, own in sorted(benchmarks.items()):
        metric = ordered(own[0]["scores"])[0]
        values = by_question([row for row in own if metric in row["scores"]], metric).values()
        if all(isinstance(value, int | float) and 0 <= value <= 1 for value in values):
            yield name, metric, len(values), headline(own)

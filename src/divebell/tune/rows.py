"""A person's file as JSON objects, or as text."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from divebell.errors import BadInput

_MOST_NAMED = 5


def has_rows(path: Path) -> bool:
    """Whether a file holds JSON objects, by its name: one a line (.jsonl), or a list of them (.json)."""
    return path.suffix.lower() in (".jsonl", ".json")


def of_rows(path: Path, make: Callable[[dict], list[Any]]) -> list[Any]:
    """What is made of the rows of a file. Raises BadInput naming the first lines that `make` refuses."""
    made, wrong = [], []
    for place, text in _rows(path):
        try:
            made += make(_object(text))
        except BadInput as problem:
            wrong.append(f"{place}: {problem}")
    if wrong:
        more = f"\nand {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
        raise BadInput(f"{path} can't be trained on:\n" + "\n".join(wrong[:_MOST_NAMED]) + more)
    return made


def text_of(path: Path) -> str:
    """A file of UTF-8, without a byte order mark. Raises BadInput for any other."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as problem:
        raise BadInput(f"{path} can't be read: {getattr(problem, 'strerror', None) or problem}") from None


def string_of(row: Mapping[str, Any], field: str) -> str:
    """A field that must be text."""
    if not isinstance(row.get(field), str):
        raise BadInput(f"{field} is {str(row.get(field))[:40]!r}; give a string")
    return row[field]


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    """(place, JSON text). Lines end where JSON has them end: other separators may be in a text."""
    text = text_of(path)
    if path.suffix.lower() == ".json" and text.lstrip().startswith("["):
        yield from ((f"row {number}", json.dumps(row)) for number, row in enumerate(_list(path, text), 1))
    else:
        yield from ((f"line {number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def _list(path: Path, text: str) -> list:
    try:
        return _parsed(text)
    except BadInput as problem:
        raise BadInput(f"{path} {problem}") from None


def _object(text: str) -> dict:
    row = _parsed(text)
    if not isinstance(row, dict):
        raise BadInput(f"is {text.strip()[:40]!r}; give a JSON object")
    return row


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise BadInput(f"is no JSON: {problem}") from None

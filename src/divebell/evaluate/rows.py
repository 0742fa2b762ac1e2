"""Rows in a file of the person's: lines of text, or a JSON object on each of them; plain or gzipped."""

import gzip
import zlib
from pathlib import Path
from typing import Any

from divebell.errors import BadFile
from divebell.weights.strict_json import parse_object

Rows = list[dict[str, Any]]
_MOST_BYTES = 64 << 20
_GZIP = b"\x1f\x8b"


def rows(path: Path) -> Rows:
    """The objects of a .jsonl file. Raises BadFile."""
    return [row for _, row in placed_rows(path)]


def placed_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Each with its place in the file, such as "line 2"."""
    return [(place, parse_object(line, path, place)) for place, line in _lines(path)]


def placed_texts(path: Path) -> list[tuple[str, str]]:
    """The lines of a text in UTF-8, each with its place. Raises BadFile."""
    try:
        return [(place, line.decode()) for place, line in _lines(path)]
    except UnicodeDecodeError as problem:
        raise BadFile(path, "text", f"is not UTF-8: {problem.reason}") from None


def _lines(path: Path) -> list[tuple[str, bytes]]:
    """Cut at \\n alone: rows may hold Unicode's other line ends."""
    return [(f"line {number}", line) for number, line in enumerate(_read(path).split(b"\n"), 1) if line.strip()]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            packed = file.read(len(_GZIP)) == _GZIP
        with (gzip.open if packed else open)(path, "rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except (EOFError, zlib.error):
        raise BadFile(path, "gzip", "is damaged or ends too early") from None
    except OSError as problem:
        raise BadFile(path, "rows", f"can't be read: {problem.strerror or problem}") from None
    if len(raw) > _MOST_BYTES:
        raise BadFile(path, "rows", f"are larger than the {_MOST_BYTES} bytes allowed")
    return raw

"""JSON from a stranger: bounded in size, values and depth, without duplicate keys."""

import json
from collections import Counter
from pathlib import Path

from divebell.errors import BadFile

MOST_BYTES = 32 << 20  # the index of a trillion-parameter model takes 14 MB
MOST_VALUES = 1_500_000  # a value takes some 60 bytes of memory, however few bytes of text it has


def parse_object(raw: bytes, path: Path, field: str) -> dict:
    """A JSON object from UTF-8. Raises BadFile naming the field and what is wrong."""
    _check_size(raw, path, field)
    try:
        value = json.loads(str(raw, "utf-8"), object_pairs_hook=_distinct)
        _check_encodable(raw, value)
    except RecursionError:
        raise BadFile(path, field, "is nested too deeply") from None
    except ValueError as problem:
        raise BadFile(path, field, f"is not valid JSON: {problem}") from None
    if not isinstance(value, dict):
        raise BadFile(path, field, f"must be a JSON object, is {type(value).__name__}")
    return value


def read_object(path: Path, field: str = "JSON") -> dict:
    """A small JSON file that holds an object. Raises BadFile."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as problem:
        raise BadFile(path, field, f"can't be read: {problem.strerror}") from None
    return parse_object(raw, path, field)


def _check_size(raw: bytes, path: Path, field: str) -> None:
    if len(raw) > MOST_BYTES:
        raise BadFile(path, field, f"is larger than the {MOST_BYTES} bytes allowed")
    values = sum(raw.count(mark) for mark in (b",", b"[", b"{"))
    if values > MOST_VALUES:
        raise BadFile(path, field, f"holds about {values} values; at most {MOST_VALUES} are allowed")


def _distinct(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"key {twice[:80]!r} is there twice")
    return found


def _check_encodable(raw: bytes, value: object) -> None:
    """Half of a surrogate pair, which only an escape can smuggle in, is no text: printing it would fail later."""
    if b"\\ud" in raw.lower():
        json.dumps(value, ensure_ascii=False).encode("utf-8")

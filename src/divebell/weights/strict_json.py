"""JSON from a stranger: bounded in size, values and depth, without duplicate keys."""

import json
import re
from codecs import BOM_UTF8
from pathlib import Path

from divebell.errors import BadFile

# Together they keep any file below 200 MB and a second: text takes up to nine times its bytes while it is read (as
# bytes, as characters of four bytes, and those once more as a value), a name with its value some 350 bytes.
MOST_BYTES = 16 << 20  # the index of a trillion-parameter model takes 14 MB
MOST_VALUES = 300_000  # and has 140,000 names
MOST_DIGITS = 400
PAIR = rb"\\u[dD][89abAB]..\\u[dD][c-fC-F].."
WHOLE_TEXT = re.compile(rb"(?:[^\\]++|\\(?!u[dD][89a-fA-F]).|" + PAIR + rb")*+", re.DOTALL)


def parse_object(raw: bytes, path: Path, field: str) -> dict:
    """A JSON object from UTF-8. Raises BadFile naming the field and what is wrong."""
    if not raw.strip():
        raise BadFile(path, field, "is empty")
    _check_size(raw, path, field)
    try:
        value = json.loads(str(raw, "utf-8"), object_pairs_hook=_distinct, parse_int=_integer)
        _check_surrogates(raw)
    except RecursionError:
        raise BadFile(path, field, "is nested too deeply") from None
    except ValueError as problem:
        raise BadFile(path, field, f"is not valid JSON: {problem}") from None
    if not isinstance(value, dict):
        raise BadFile(path, field, f"must be a JSON object, is {type(value).__name__}")
    return value


def read_object(path: Path, field: str = "JSON") -> dict:
    """A small JSON file that holds an object; a byte order mark at its start means nothing. Raises BadFile."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as problem:
        raise BadFile(path, field, f"can't be read: {problem.strerror}") from None
    return parse_object(raw.removeprefix(BOM_UTF8), path, field)


def _check_size(raw: bytes, path: Path, field: str) -> None:
    if len(raw) > MOST_BYTES:
        raise BadFile(path, field, f"is larger than the {MOST_BYTES} bytes allowed")
    values = sum(raw.count(mark) for mark in (b",", b"[", b"{"))
    if values > MOST_VALUES:
        raise BadFile(path, field, f"holds about {values} values; at most {MOST_VALUES} are allowed")


def _distinct(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"key {twice[:80]!r} is there twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits; at most {MOST_DIGITS} are allowed")
    return int(digits)


def _check_surrogates(raw: bytes) -> None:
    """Half of a surrogate pair, which only an escape can smuggle in, is no text: printing it would fail later."""
    if not WHOLE_TEXT.fullmatch(raw):
        raise ValueError("an escape is half of a surrogate pair, which is no text")

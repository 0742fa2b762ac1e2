"""API keys: who may ask, told apart by name."""

import os
from hmac import compare_digest
from pathlib import Path

from divebell.errors import BadInput

VARIABLE = "DIVEBELL_API_KEYS"
SHORTEST = 8


class Keys:
    """named: name -> key. Without any, everybody may ask."""

    def __init__(self, named: dict[str, str]):
        self._named = {name: key.encode() for name, key in named.items()}

    def __bool__(self) -> bool:
        return bool(self._named)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._named)

    def owner(self, key: str) -> str | None:
        """The name of a key, or None. All keys are compared, each in constant time."""
        given = key.encode("utf-8", "surrogateescape")
        owners = [name for name, known in self._named.items() if compare_digest(known, given)]
        return owners[0] if owners else None


def read_keys(file: Path | None) -> Keys:
    """Of a file, one to a line, and of the environment's DIVEBELL_API_KEYS, with spaces between: `name:key` or `key`.

    Empty lines, and those that begin with #, say nothing. Raises BadInput for a key that can't be one.
    """
    named: dict[str, str] = {}
    if file is not None:
        lines = [line.strip() for line in _text(file).splitlines()]
        entries = [line for line in lines if line and not line.startswith("#")]
        if not entries:
            raise BadInput(f"{file} has no keys; give one to a line, as name:key")
        _add(named, entries, str(file))
    _add(named, os.environ.get(VARIABLE, "").split(), VARIABLE)
    return Keys(named)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except UnicodeDecodeError as problem:
        raise BadInput(f"{file} is not text: {problem.reason}") from None


def _add(named: dict[str, str], entries: list[str], source: str) -> None:
    for number, entry in enumerate(entries, 1):
        name, _, key = entry.rpartition(":")
        name = name.strip() or f"key{len(named) + 1}"
        key = key.strip()
        if len(key) < SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
            raise BadInput(
                f"{source}: key {number} ({name}) can't be used; a key has {SHORTEST} or more printable ASCII "
                "characters and no spaces"
            )
        if name in named:
            raise BadInput(f"{source}: the name {name} occurs twice; each key needs its own")
        if key in named.values():
            raise BadInput(f"{source}: key {number} ({name}) occurs twice; each name needs a key of its own")
        named[name] = key

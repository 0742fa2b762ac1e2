"""Checked reading of a model's configuration: config.json's fields, or a GGUF's metadata."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from divebell.errors import BadFile, Mismatch, Unsupported

_REQUIRED: Any = object()
MOST_LAYERS = 10_000


class Fields:
    """Values by name. A missing or null field gives the default; one of the wrong type or range is a BadFile naming it.

    `prefix` is put before every name (GGUF: "deepseek2."); `place` is how a nested object is named in errors.
    """

    def __init__(self, values: Mapping[str, Any], path: Path | str, prefix: str = "", place: str = ""):
        self.values, self.path, self.prefix, self.place = values, path, prefix, place

    def integer(self, name: str, default: Any = _REQUIRED, least: int = 1) -> Any:
        value = self._value(name, default)
        if value is default:
            return default
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
            raise self.bad(name, f"is {_short(value)}; it must be an integer")
        if not least <= value < 2**31:
            raise self.bad(name, f"is {value}; it must be at least {least} and below 2^31")
        return int(value)

    def layers(self, name: str, least: int = 1) -> int:
        """How many there are. Each is listed before a tensor is looked for, so that more would only take memory."""
        count = self.integer(name, least=least)
        if count > MOST_LAYERS:
            raise self.bad(name, f"is {count}; no model has more than {MOST_LAYERS:,} layers")
        return count

    def number(self, name: str, default: Any = _REQUIRED, least: float = 0.0) -> Any:
        value = self._value(name, default)
        if value is default:
            return default
        number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if not number or not least <= value < 1e30 or not isfinite(value):
            raise self.bad(name, f"is {_short(value)}; it must be a number, at least {least:g}")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self._value(name, default)
        if not isinstance(value, (bool, np.bool_)):
            raise self.bad(name, f"is {_short(value)}; it must be true or false")
        return bool(value)

    def text(self, name: str, default: Any = _REQUIRED) -> Any:
        value = self._value(name, default)
        if value is not default and not isinstance(value, str):
            raise self.bad(name, f"is {_short(value)}; it must be a string")
        return value

    def choice(self, name: str, default: str, known: Sequence[str]) -> str:
        value = self.text(name, default)
        if value not in known:
            raise Unsupported(self.full(name), value, tuple(known), self.path)
        return value

    def items(self, name: str) -> list | None:
        value = self._value(name, None)
        if value is not None and not isinstance(value, (list, tuple, np.ndarray)):
            raise self.bad(name, f"is {_short(value)}; it must be a list")
        return None if value is None else list(value)

    def section(self, name: str) -> "Fields | None":
        value = self._value(name, None)
        if value is not None and not isinstance(value, Mapping):
            raise self.bad(name, f"is {_short(value)}; it must be an object")
        return None if value is None else Fields(value, self.path, place=self.full(name) + ".")

    def bad(self, name: str, problem: str) -> BadFile:
        return BadFile(self.path, self.full(name), problem)

    def contradiction(self, sentence: str) -> Mismatch:
        return Mismatch(f"{self.path}: {sentence}")

    def full(self, name: str) -> str:
        return f"{self.place}{self.prefix}{name}"

    def _value(self, name: str, default: Any) -> Any:
        value = self.values.get(self.prefix + name)
        if value is not None:
            return value
        if default is _REQUIRED:
            raise self.bad(name, "is missing")
        return default


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

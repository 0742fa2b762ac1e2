"""Reading a GGUF header, value by value, from bytes that may say anything.

Format: ggml-org/ggml, docs/gguf.md. Every count and length is held against what is left of the file and against one
allowance of memory before anything is made from it.
"""

import mmap
from pathlib import Path

import numpy as np

from divebell import _native
from divebell.errors import BadFile
from divebell.weights.mapped import brief

ALLOWANCE = 120 << 20  # bytes of Python objects for one header; a vocabulary of 262,144 tokens with merges takes 95 MB
OBJECT = 88  # bytes that a short string takes in a list
ENTRY = 1500  # for a value that is read by itself: more than it takes, so that a header's worth is read in a second
DEEPEST = 4  # arrays within arrays
BOOL, STRING, ARRAY = 7, 8, 9
NUMBERS = {
    0: np.dtype("u1"),
    1: np.dtype("i1"),
    2: np.dtype("<u2"),
    3: np.dtype("<i2"),
    4: np.dtype("<u4"),
    5: np.dtype("<i4"),
    6: np.dtype("<f4"),
    7: np.dtype("?"),
    10: np.dtype("<u8"),
    11: np.dtype("<i8"),
    12: np.dtype("<f8"),
}
LEAST_BYTES = {**{number: dtype.itemsize for number, dtype in NUMBERS.items()}, STRING: 8, ARRAY: 12}


class Cursor:
    """A place in the file. Each read moves it on, or raises BadFile naming `field`."""

    def __init__(self, raw: "mmap.mmap | bytes", path: Path):
        self.file, self.path = np.frombuffer(raw, np.uint8), path
        self.at, self.field, self._left = 0, "magic", ALLOWANCE

    def bad(self, problem: str) -> BadFile:
        return BadFile(self.path, self.field, problem)

    def spend(self, memory: int) -> None:
        self._left -= memory
        if self._left < 0:
            raise self.bad(f"would take more than the {ALLOWANCE >> 20} MB of memory that a header may")

    def take(self, length: int) -> np.ndarray:
        """The next `length` bytes, not copied."""
        begin, self.at = self.at, self.at + length
        if self.at > len(self.file):
            left = len(self.file) - begin
            self.at = begin
            raise self.bad(f"needs {length} bytes at offset {begin}, but {left} are left (file cut short?)")
        return self.file[begin : self.at]

    def number(self, kind: int) -> "int | float | bool":
        dtype = NUMBERS[kind]
        raw = self.take(dtype.itemsize)
        return self._flags(raw)[0].item() if kind == BOOL else raw.view(dtype)[0].item()

    def count(self, least_bytes: int) -> int:
        """A number of things of which each takes at least `least_bytes` more of the file."""
        count, left = self.number(10), len(self.file) - self.at
        if count * least_bytes > left:
            raise self.bad(f"counts {count}, which need {count * least_bytes} bytes, but {left} are left")
        return count

    def text(self) -> str:
        length = self.count(1)
        self.spend(4 * length + OBJECT)
        return self._decoded(self.take(length))

    def value(self) -> object:
        return self._value(self.number(4), 0)

    def _value(self, kind: int, depth: int) -> object:
        if kind in NUMBERS:
            return self.number(kind)
        if kind == STRING:
            return self.text()
        if kind == ARRAY and depth < DEEPEST:
            return self._array(depth)
        problem = "arrays are nested too deeply" if kind == ARRAY else f"value type {kind} does not exist"
        raise self.bad(problem)

    def _array(self, depth: int) -> "np.ndarray | list":
        kind = self.number(4)
        if kind not in LEAST_BYTES:
            raise self.bad(f"array of type {kind}, which does not exist")
        count = self.count(LEAST_BYTES[kind])
        if kind in NUMBERS:
            raw = self.take(count * NUMBERS[kind].itemsize)
            return self._flags(raw) if kind == BOOL else raw.view(NUMBERS[kind])
        self.spend(count * (OBJECT if kind == STRING else ENTRY))
        return self._strings(count) if kind == STRING else [self._value(ARRAY, depth + 1) for _ in range(count)]

    def _strings(self, count: int) -> list[str]:
        end = min(len(self.file), self.at + 8 * count + self._left // 4)
        found, at = _native.strings(self.file, self.at, count, end)
        if len(found) < count:
            self._refuse_string(len(found), count, at, end)
        self.spend(4 * (at - self.at - 8 * count))
        self.at = at
        return found

    def _refuse_string(self, index: int, count: int, at: int, end: int) -> None:
        """Raises what is wrong with one that begins at `at` and may not go beyond `end`."""
        begin = at + 8
        if begin > len(self.file):
            raise self.bad(f"the file ends before string {index} of {count}")
        length = int.from_bytes(self.file[at:begin].tobytes(), "little")
        if length > end - begin:
            raise self.bad(f"string {index} of {count} has length {length}, more than the file or memory allows")
        self._decoded(self.file[begin : begin + length], f"string {index} ")

    def _flags(self, raw: np.ndarray) -> np.ndarray:
        self.spend(len(raw))
        if raw.size and raw.max() > 1:
            raise self.bad("a truth value is neither 0 nor 1")
        return raw.view(np.bool_)

    def _decoded(self, raw: np.ndarray, which: str = "") -> str:
        try:
            return str(raw.tobytes(), "utf-8")
        except UnicodeDecodeError as problem:
            raise self.bad(f"{which}is not UTF-8: {problem.reason}") from None


def read_metadata(cursor: Cursor, count: int) -> dict[str, object]:
    """`count` keys and values: scalars as Python's, strings as str, arrays of numbers as views of the file, arrays of
    strings or arrays as lists."""
    found: dict[str, object] = {}
    for index in range(count):
        cursor.field = f"key of metadata entry {index}"
        key = cursor.text()
        cursor.spend(ENTRY)
        if key in found:
            raise cursor.bad(f"{brief(key)} is there twice")
        cursor.field = f"metadata {brief(key)}"
        found[key] = cursor.value()
    return found

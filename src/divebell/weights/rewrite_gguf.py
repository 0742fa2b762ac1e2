"""A GGUF file anew: the metadata of another, byte for byte, with tensors in other formats."""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from divebell.weights.entry import Entry
from divebell.weights.gguf import DEFAULT_ALIGNMENT, MAGIC
from divebell.weights.gguf_metadata import Cursor
from divebell.weights.mapped import draft, map_file
from divebell.weights.write_gguf import write_pieces

_LEFT_OUT = ("split.", "general.file_type")  # the result is one file, and of no type that llama.cpp has a number for


def rewrite_gguf(source: Path, out: Path, entries: Sequence[Entry], data: Iterator[np.ndarray]) -> None:
    """source: a file that `gguf.read_file` has read, the first of a split one. data: as `write_gguf` takes it.

    A file appears at `out` only when it is complete.
    """
    alignment, metadata = _metadata(source)
    with draft(out) as part, open(part, "wb") as file:
        file.write(MAGIC + struct.pack("<IQQ", 3, len(entries), len(metadata)) + b"".join(metadata))
        file.write(_infos(entries, alignment))
        for entry in entries:
            file.write(bytes(-file.tell() % alignment))
            write_pieces(file, entry, data)
        file.write(bytes(-file.tell() % alignment))


def _metadata(path: Path) -> tuple[int, list[bytes]]:
    """Alignment, and the entries that are kept, as they lie."""
    cursor, kept, alignment = Cursor(map_file(path), path), [], DEFAULT_ALIGNMENT
    cursor.take(16)
    for _ in range(cursor.number(10)):
        begin, key, value = cursor.at, cursor.text(), cursor.value()
        if key == "general.alignment":
            alignment = value
        if not key.startswith(_LEFT_OUT):
            kept.append(cursor.file[begin : cursor.at].tobytes())
    return alignment, kept


def _infos(entries: Sequence[Entry], alignment: int) -> bytes:
    described, offset = [], 0
    for entry in entries:
        name, axes = entry.name.encode(), len(entry.shape)
        place = struct.pack(f"<I{axes}QIQ", axes, *entry.shape[::-1], entry.format.number, offset)
        described.append(struct.pack("<Q", len(name)) + name + place)
        offset += -(-entry.nbytes // alignment) * alignment
    return b"".join(described)

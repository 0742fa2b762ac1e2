"""Writing GGUF v3 (ggml-org/ggml docs/gguf.md): the `gguf` package makes the header, the data is streamed behind it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from divebell.weights.entry import Entry
from divebell.weights.mapped import draft

ALIGNMENT = 32


def write_gguf(
    path: Path, architecture: str, metadata: Mapping[str, Any], entries: Sequence[Entry], data: Iterator[np.ndarray]
) -> None:
    """data: the bytes of all entries in their order, as uint8 arrays that never span two entries.

    metadata: str, bool, int (uint32; int32 in lists), float (float32) or lists of one of these; general.architecture
    is added.
    A file appears at `path` only when it is complete.
    """
    with draft(path) as part:
        _write_header(part, architecture, metadata, entries)
        with open(part, "ab") as file:
            for entry in entries:
                _pad(file)
                write_pieces(file, entry, data)
            _pad(file)


def write_pieces(file: BinaryIO, entry: Entry, data: Iterator[np.ndarray]) -> None:
    """Takes from `data` exactly the bytes of `entry`."""
    left = entry.nbytes
    while left:
        piece = next(data)
        file.write(piece)
        left -= piece.size
        if left < 0:
            raise ValueError(f"{entry.name}: {-left} bytes more than its {entry.nbytes}")


def _write_header(path: Path, architecture: str, metadata: Mapping[str, Any], entries: Sequence[Entry]) -> None:
    from gguf import GGMLQuantizationType, GGUFWriter

    writer = GGUFWriter(path, architecture)
    for key, value in metadata.items():
        writer.add_key_value(key, value, *_types(value))
    for entry in entries:
        kind = GGMLQuantizationType(entry.format.number)
        writer.add_tensor_info(entry.name, entry.shape, np.dtype(np.float32), entry.nbytes, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()


def _types(value: Any) -> tuple:
    from gguf import GGUFValueType as Kind

    if isinstance(value, list):
        return Kind.ARRAY, Kind.INT32 if type(value[0]) is int else _types(value[0])[0]
    kinds = {bool: Kind.BOOL, int: Kind.UINT32, float: Kind.FLOAT32, str: Kind.STRING}
    return (kinds[type(value)],)


def _pad(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % ALIGNMENT))

"""A context of any length in a slot of a llama.cpp server, without reading it.

A short one is read and saved, its rows are repeated, and the longer one is restored. What a token takes depends on how
many rows there are, not on what they say.

The file is llama.cpp's state of a sequence, version 4, in little-endian words of four bytes: "ggsq" and the version;
how many words tell the tokens, and these: two marks, a count, the ids, and what follows them; one stream; its cells,
each with a position and its sequences; a header of 16 bytes; and of every layer the keys, then the values where it
keeps any, each with type (4 bytes) and bytes of a row (8).
"""

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.request import Request, urlopen

VERSION = 4
_HEADER = 16
_CELL = struct.Struct("<iII")  # position, how many sequences, which
_ROWS = struct.Struct("<IQ")  # type, bytes of a row


def save(server, slot: int, path: Path) -> None:
    _act(server, slot, "save", path)


def restore(server, slot: int, path: Path) -> None:
    _act(server, slot, "restore", path)


def _act(server, slot: int, action: str, path: Path) -> None:
    """path: in the folder that the server has for this."""
    body = json.dumps({"filename": path.name}).encode()
    url = f"{server.listening_address}/slots/{slot}?action={action}"
    urlopen(Request(url, body, {"Content-Type": "application/json"})).close()


def lengthen(short: Path, long: Path, ids: Sequence[int]) -> None:
    """Writes to `long` what is in `short`, as if it had been read from `ids`."""
    state = short.read_bytes()
    magic, version, words = struct.unpack_from("<4sII", state)
    if magic[::-1] != b"ggsq" or version != VERSION:
        raise SystemExit(f"{short} is no state of version {VERSION}, but {magic[::-1]!r}, {version}")
    tokens = list(struct.unpack_from(f"<{words}I", state, 12))
    marks, count = tokens[:2], tokens[2]
    told = [*marks, len(ids), *ids, *tokens[3 + count :]]
    begin = 12 + 4 * words
    streams, cells = struct.unpack_from("<II", state, begin)
    header = begin + 8 + cells * _CELL.size
    with long.open("wb") as out:
        out.write(struct.pack(f"<4sII{len(told)}I", magic, version, len(told), *told))
        out.write(struct.pack("<II", streams, len(ids)))
        out.write(b"".join(_CELL.pack(position, 1, 0) for position in range(len(ids))))
        out.write(state[header : header + _HEADER])
        for type, size, rows in _rows(state, header + _HEADER, cells):
            out.write(_ROWS.pack(type, size))
            out.write((rows * -(-len(ids) // cells))[: size * len(ids)])


def _rows(state: bytes, place: int, cells: int) -> Iterator[tuple[int, int, bytes]]:
    while place < len(state):
        type, size = _ROWS.unpack_from(state, place)
        place += _ROWS.size
        yield type, size, state[place : place + size * cells]
        place += size * cells

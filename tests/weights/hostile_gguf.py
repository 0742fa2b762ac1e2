"""GGUF files put together by hand, in pieces that can each be made to lie (ggml-org/ggml, docs/gguf.md)."""

import random
import struct
from collections.abc import Sequence

from hostile import LIMITS, NOT_UTF8, damaged_bytes

U8, U32, I32, F32, BOOL, STRING, ARRAY, U64, F64 = 0, 4, 5, 6, 7, 8, 9, 10, 12
Pieces = list[bytes]


def u32(number: int) -> bytes:
    return struct.pack("<I", number & 0xFFFFFFFF)


def u64(number: int) -> bytes:
    return struct.pack("<Q", number & 0xFFFFFFFFFFFFFFFF)


def text(value: str | bytes) -> Pieces:
    raw = value if isinstance(value, bytes) else value.encode()
    return [u64(len(raw)), raw]


def entry(key: str | bytes, kind: int, *value: bytes) -> Pieces:
    return [*text(key), u32(kind), *value]


def array(key: str, kind: int, count: int, *values: bytes) -> Pieces:
    return entry(key, ARRAY, u32(kind), u64(count), *values)


def info(name: str | bytes, dimensions: Sequence[int], kind: int, offset: int) -> Pieces:
    return [*text(name), u32(len(dimensions)), *map(u64, dimensions), u32(kind), u64(offset)]


ARCHITECTURE = entry("general.architecture", STRING, *text("llama"))


def join(
    entries: Sequence[Pieces] = (ARCHITECTURE,),
    infos: Sequence[Pieces] = (),
    data: bytes = b"",
    *,
    version: int = 3,
    counts: tuple[int, int] | None = None,
    alignment: int = 32,
) -> bytes:
    """counts: of tensors and of metadata, when they are to be others than there are."""
    tensors, metadata = counts or (len(infos), len(entries))
    head = [b"GGUF", u32(version), u64(tensors), u64(metadata)]
    header = b"".join(head + [piece for group in (*entries, *infos) for piece in group])
    return header + bytes(-len(header) % alignment) + data


def damaged(rng: random.Random, entries: Sequence[Pieces], infos: Sequence[Pieces], data: bytes) -> bytes:
    entries, infos = [list(group) for group in entries], [list(group) for group in infos]
    counts = (len(infos), len(entries))
    for _ in range(rng.choice([0, 1, 1, 1, 2, 4])):
        _damage_groups(rng, rng.choice([entries, infos]))
    if rng.random() < 0.1:
        counts = (rng.choice([*LIMITS, counts[0] + 1]), counts[1])
    if rng.random() < 0.1:
        counts = (counts[0], rng.choice([*LIMITS, counts[1] - 1]))
    version = rng.choice(LIMITS) if rng.random() < 0.03 else rng.choice([2, 3])
    whole = join(entries, infos, data, version=version, counts=None if rng.random() < 0.6 else counts)
    return damaged_bytes(rng, whole, len(whole) - len(data)) if rng.random() < 0.4 else whole


def _damage_groups(rng: random.Random, groups: list[Pieces]) -> None:
    if not groups:
        return
    here, there = rng.randrange(len(groups)), rng.randrange(len(groups))
    kind = rng.randrange(10)
    if kind == 0:
        del groups[here]
    elif kind == 1:
        groups.insert(here, list(groups[there]))
    elif kind == 2:
        groups[here], groups[there] = groups[there], groups[here]
    elif kind == 3:
        groups[here][:2] = groups[there][:2]
    else:
        at = rng.randrange(len(groups[here]))
        groups[here][at : at + 1] = _damaged_piece(rng, groups[here][at])


def _damaged_piece(rng: random.Random, piece: bytes) -> Pieces:
    """A number becomes one at some limit, or a little more or less; a text loses its form."""
    if len(piece) in (4, 8) and rng.random() < 0.8:
        near = int.from_bytes(piece, "little") + rng.choice([-32, -1, 1, 2, 32])
        number = rng.choice([near, rng.choice(LIMITS), rng.randrange(45)])
        return [u32(number) if len(piece) == 4 else u64(number)]
    return rng.choice([[], [piece, piece], [rng.choice(NOT_UTF8) + piece[1:]], [damaged_bytes(rng, piece)]])

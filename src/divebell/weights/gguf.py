"""Reading GGUF files, versions 2 and 3, little-endian, whole or split.

Format: ggml-org/ggml, docs/gguf.md; as llama.cpp's reader does, each tensor must follow the one before it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from divebell.errors import BadFile, BadInput, Unsupported
from divebell.weights.formats import BY_NUMBER, F8_E4M3, Format
from divebell.weights.gguf_metadata import ENTRY, Cursor, read_metadata
from divebell.weights.mapped import brief, map_file
from divebell.weights.tensor import Tensor

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MOST_AXES, MOST_SPLITS = 4, 99_999
MOST_NUMBERS = 1 << 60
FORMATS = {number: f for number, f in BY_NUMBER.items() if f is not F8_E4M3}
OTHER_TYPES = {
    9: "Q8_1",
    15: "Q8_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    21: "IQ3_S",
    22: "IQ2_S",
    24: "I8",
    25: "I16",
    26: "I32",
    27: "I64",
    28: "F64",
    29: "IQ1_M",
    34: "TQ1_0",
    35: "TQ2_0",
    40: "NVFP4",
    41: "Q1_0",
}
SPLIT_NAME = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Info:
    """What a header says of one tensor; shape row-major."""

    name: str
    format: Format
    shape: tuple[int, ...]
    offset: int


def read_file(path: Path) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Metadata and tensors of one file. Raises BadFile naming the field, Unsupported for versions and formats."""
    cursor = Cursor(map_file(path), path)
    _check_version(cursor)
    cursor.field = "tensor count"
    tensors = cursor.count(24)
    cursor.field = "metadata count"
    metadata = read_metadata(cursor, cursor.count(13))
    infos = _infos(cursor, tensors)
    begin = _aligned(cursor.at, _alignment(metadata, path))
    return metadata, _tensors(infos, cursor.file[begin:], _alignment(metadata, path), path)


def read_split(path: Path) -> tuple[list[Path], dict[str, object], dict[str, Tensor]]:
    """The files, metadata and tensors of a GGUF file and of those that continue it. Raises BadFile, BadInput."""
    metadata, tensors = read_file(path)
    files = _parts(path, metadata)
    for index, part in enumerate(files[1:], start=1):
        continued, more = read_file(part)
        _check_part(continued, index, len(files), part)
        twice = tensors.keys() & more.keys()
        if twice:
            raise BadFile(part, f"tensor {brief(min(twice))}", "is in an earlier part too")
        tensors |= more
    total = metadata.get("split.tensors.count", len(tensors))
    if len(files) > 1 and not _is(total, len(tensors)):
        raise BadFile(path, "split.tensors.count", f"is {brief(total)}; the parts hold {len(tensors)}")
    return files, metadata, tensors


def _check_version(cursor: Cursor) -> None:
    if cursor.take(4).tobytes() != MAGIC:
        raise cursor.bad("is not 'GGUF'")
    cursor.field = "version"
    version = cursor.number(4)
    if version & 0xFFFF == 0 and version:
        raise Unsupported("byte order", "big-endian", ["little-endian"], cursor.path)
    if version not in VERSIONS:
        raise Unsupported("GGUF version", version, [str(v) for v in VERSIONS], cursor.path)


def _alignment(metadata: Mapping[str, object], path: Path) -> int:
    value = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(value) is not int or value <= 0 or value & (value - 1):
        raise BadFile(path, "general.alignment", f"is {brief(value)}; it must be a power of two")
    return value


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _infos(cursor: Cursor, count: int) -> dict[str, Info]:
    found: dict[str, Info] = {}
    for index in range(count):
        cursor.field = f"name of tensor {index} of {count}"
        name = cursor.text()
        cursor.spend(2 * ENTRY)
        if name in found:
            raise cursor.bad(f"{brief(name)} is there twice")
        found[name] = _info(cursor, name)
    return found


def _info(cursor: Cursor, name: str) -> Info:
    cursor.field = f"tensor {brief(name)}: dimensions"
    shape = _shape(cursor)
    cursor.field = f"tensor {brief(name)}: type"
    format = _format(cursor, name)
    if shape[-1] % format.block:
        raise cursor.bad(f"{format.name} has blocks of {format.block}, but rows have {shape[-1]} numbers")
    cursor.field = f"tensor {brief(name)}: offset"
    return Info(name, format, shape, cursor.number(10))


def _shape(cursor: Cursor) -> tuple[int, ...]:
    axes = cursor.number(4)
    if not 1 <= axes <= MOST_AXES:
        raise cursor.bad(f"there are {axes}; 1 to {MOST_AXES} are allowed")
    shape = tuple(cursor.number(10) for _ in range(axes))[::-1]
    if 0 in shape or prod(shape) > MOST_NUMBERS:
        raise cursor.bad(f"{shape[::-1]}: each must be at least 1, and their product at most 2^60")
    return shape


def _format(cursor: Cursor, name: str) -> Format:
    number = cursor.number(4)
    if number not in FORMATS:
        known = [f.name for f in FORMATS.values()]
        raise Unsupported(f"tensor {brief(name)}: type", OTHER_TYPES.get(number, number), known, cursor.path)
    return FORMATS[number]


def _tensors(infos: dict[str, Info], data: np.ndarray, alignment: int, path: Path) -> dict[str, Tensor]:
    found, expected = {}, 0
    for info in infos.values():
        field, size = f"tensor {brief(info.name)}: offset", info.format.nbytes(info.shape)
        if info.offset != expected:
            raise BadFile(path, field, f"is {info.offset}; the tensor before it ends (aligned) at {expected}")
        if info.offset + size > len(data):
            problem = f"{size} bytes at {info.offset} do not lie within the {len(data)} bytes of data (file cut short?)"
            raise BadFile(path, field, problem)
        found[info.name] = Tensor(info.name, info.format, info.shape, data[info.offset : info.offset + size])
        expected = _aligned(info.offset + size, alignment)
    return found


def _parts(path: Path, metadata: Mapping[str, object]) -> list[Path]:
    count = metadata.get("split.count", 0)
    if type(count) is not int or not 0 <= count <= MOST_SPLITS:
        raise BadFile(path, "split.count", f"is {brief(count)}; it must be a number up to {MOST_SPLITS}")
    if count <= 1:
        return [path]
    name = SPLIT_NAME.fullmatch(path.name)
    if not name or int(name[3]) != count:
        raise BadFile(path, "split.count", f"is {count}, so the name must end in -00001-of-{count:05d}.gguf")
    if not _is(metadata.get("split.no"), int(name[2]) - 1):
        raise BadFile(path, "split.no", f"is {brief(metadata.get('split.no'))}; the name says {int(name[2]) - 1}")
    if int(name[2]) != 1:
        raise BadInput(f"{path} continues another file; give the first, {name[1]}-00001-of-{count:05d}.gguf")
    return [path.with_name(f"{name[1]}-{part:05d}-of-{count:05d}.gguf") for part in range(1, count + 1)]


def _check_part(metadata: Mapping[str, object], index: int, count: int, path: Path) -> None:
    for key, expected in (("split.no", index), ("split.count", count)):
        if not _is(metadata.get(key), expected):
            raise BadFile(path, key, f"is {brief(metadata.get(key))}; it must be {expected} in this part")


def _is(value: object, number: int) -> bool:
    return type(value) is int and value == number

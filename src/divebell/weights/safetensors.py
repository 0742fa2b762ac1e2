"""Reading safetensors: one file, or many that an index joins.

Format: github.com/huggingface/safetensors, README: 8 bytes of header length, a JSON header, then the data without
holes. D4 and D8 are no types of this format: such a matrix lies as U8 (rows, bytes of a row) under its name and ".D4"
or ".D8". FP8 as DeepSeek-V3 releases it: README_WEIGHTS of deepseek-ai/DeepSeek-V3.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path

import numpy as np

from divebell.errors import BadFile, Unsupported
from divebell.weights.formats import BF16, F8_BLOCK, F8_E4M3, F16, F32, OWN, Format
from divebell.weights.mapped import brief, map_file
from divebell.weights.strict_json import MOST_BYTES, parse_object, read_object
from divebell.weights.tensor import Tensor

SCALE_SUFFIX = "_scale_inv"
FORMATS: dict[str, Format] = {f.name: f for f in (F32, F16, BF16, F8_E4M3)}
BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "U16": 16,
    "I16": 16,
    "U32": 32,
    "I32": 32,
    "U64": 64,
    "I64": 64,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F64": 64,
    "C64": 64,
    **{name: int(f.bits) for name, f in FORMATS.items()},
}
MOST_NUMBERS = 1 << 60


@dataclass(frozen=True, slots=True)
class Entry:
    """What a header says of one tensor, checked against the file."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    data: np.ndarray


class Tensors(Mapping[str, Tensor]):
    """Tensors by stored name, made when asked for. An FP8 matrix takes its `<name>_scale_inv` along, which then has
    no entry of its own; `<name>.D4` and `<name>.D8` go by <name>. Asking for other integers raises Unsupported."""

    def __init__(self, entries: dict[str, Entry]):
        own = {name: found for name, entry in entries.items() if (found := _own_format(name, entry, entries))}
        self._own = {tensor.name: tensor for tensor in own.values()}
        self._entries = {name: entry for name, entry in entries.items() if name not in own}
        self._paired = {name + SCALE_SUFFIX for name, entry in entries.items() if entry.dtype == "F8_E4M3"}
        self._paired &= entries.keys()
        for scales in self._paired:
            _check_scales(scales, entries[scales], entries[scales.removesuffix(SCALE_SUFFIX)])

    def __getitem__(self, name: str) -> Tensor:
        if name in self._own:
            return self._own[name]
        if name in self._paired:
            raise KeyError(name)
        entry = self._entries[name]
        if entry.dtype not in FORMATS:
            raise Unsupported(f"tensor {brief(name)}: number format", entry.dtype, list(FORMATS), entry.path)
        return Tensor(name, FORMATS[entry.dtype], entry.shape, entry.data, self._scales(name + SCALE_SUFFIX))

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from (name for name in self._entries if name not in self._paired)

    def __len__(self) -> int:
        return len(self._own) + len(self._entries) - len(self._paired)

    def __contains__(self, name: object) -> bool:
        return name in self._own or (name in self._entries and name not in self._paired)

    def _scales(self, name: str) -> np.ndarray | None:
        if name not in self._paired:
            return None
        entry = self._entries[name]
        return np.require(entry.data.view("<f4"), requirements="A").reshape(entry.shape)


def _own_format(stored: str, entry: Entry, entries: Mapping[str, Entry]) -> Tensor | None:
    """What an entry in D4 or D8 is."""
    format = next((f for f in OWN if stored.endswith(f".{f.name}")), None)
    if format is None or entry.dtype != "U8":
        return None
    name = stored.removesuffix(f".{format.name}")
    if name in entries or any(f"{name}.{f.name}" in entries for f in OWN if f is not format):
        raise BadFile(entry.path, brief(stored), f"{brief(name)} is there in another format too")
    columns = format.columns_of(entry.shape[-1]) if len(entry.shape) == 2 else 0
    if not columns:
        raise BadFile(entry.path, f"{brief(stored)}: shape", f"{entry.shape} is no rows of {format.name}")
    return Tensor(name, format, (entry.shape[0], columns), entry.data)


def read_file(path: Path) -> dict[str, Entry]:
    """The entries of one file by name. Raises BadFile naming the field, Unsupported for a dtype that has no size."""
    file = np.frombuffer(map_file(path), np.uint8)
    header, data = _split(file, path)
    fields = parse_object(header.tobytes(), path, "header")
    _check_metadata(fields.pop("__metadata__", {}), path)
    entries = {name: _entry(name, described, data, path) for name, described in fields.items()}
    _check_no_holes(entries, len(data), path)
    return entries


def read_index(path: Path) -> tuple[list[Path], dict[str, Entry]]:
    """The files that an index names, and all their entries. Raises BadFile when index and files disagree."""
    owner = _weight_map(path)
    files = [_existing(path, name) for name in sorted(set(owner.values()))]
    entries: dict[str, Entry] = {}
    for file in files:
        found = read_file(file)
        stray = next((name for name in found if owner.get(name) != file.name), None)
        if stray is not None:
            place = f"is in {file.name}, but the index puts it in {brief(owner.get(stray, 'no file'))}"
            raise BadFile(path, f"weight_map: {brief(stray)}", place)
        entries |= found
    lost = next((name for name in owner if name not in entries), None)
    if lost is not None:
        raise BadFile(path, f"weight_map: {brief(lost)}", f"{owner[lost]} has no such tensor")
    return files, entries


def _weight_map(path: Path) -> dict[str, str]:
    owner = read_object(path, "index").get("weight_map")
    if not isinstance(owner, dict) or not owner:
        raise BadFile(path, "weight_map", "must be an object of tensor names and file names")
    stray = next((name for name, file in owner.items() if not _is_file_name(file)), None)
    if stray is not None:
        problem = f"{brief(owner[stray])} is not the name of a .safetensors file in this folder"
        raise BadFile(path, f"weight_map: {brief(stray)}", problem)
    return owner


def _existing(index: Path, name: str) -> Path:
    if not os.path.exists(index.parent / name):  # unlike Path.exists, this does not fail for names that can't be
        raise BadFile(index, "weight_map", f"there is no file {brief(name)} in this folder (not all downloaded?)")
    return index.parent / name


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name.endswith(".safetensors") and "/" not in name and "\0" not in name


def _split(file: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray]:
    if len(file) < 8:
        raise BadFile(path, "header length", f"the file has {len(file)} bytes; at least 8 are needed")
    length = int.from_bytes(file[:8].tobytes(), "little")
    if length > len(file) - 8:
        raise BadFile(path, "header length", f"{length} bytes; the file has {len(file) - 8} more (cut short?)")
    if length > MOST_BYTES:
        raise BadFile(path, "header length", f"{length} bytes; at most {MOST_BYTES} are allowed")
    return file[8 : 8 + length], file[8 + length :]


def _check_metadata(metadata: object, path: Path) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BadFile(path, "__metadata__", "must be an object of strings")


def _entry(name: str, described: object, data: np.ndarray, path: Path) -> Entry:
    dtype, shape, (begin, end) = _fields(name, described, path)
    if dtype not in BITS:
        raise Unsupported(f"tensor {brief(name)}: dtype", dtype[:80], list(BITS), path)
    if not begin <= end <= len(data):
        problem = f"[{begin}, {end}] does not lie within the {len(data)} bytes of data (file cut short?)"
        raise BadFile(path, f"{brief(name)}: data_offsets", problem)
    if prod(max(n, 1) for n in shape) > MOST_NUMBERS:
        raise BadFile(path, f"{brief(name)}: shape", f"{brief(shape)} is more than 2^60 numbers")
    if prod(shape) * BITS[dtype] != 8 * (end - begin):
        problem = f"{end - begin} bytes; {dtype} of shape {shape} takes {prod(shape) * BITS[dtype] / 8:g}"
        raise BadFile(path, f"{brief(name)}: data_offsets", problem)
    return Entry(path, dtype, shape, begin, data[begin:end])


def _fields(name: str, described: object, path: Path) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    if not isinstance(described, dict) or described.keys() != {"dtype", "shape", "data_offsets"}:
        raise BadFile(path, brief(name), "must have exactly dtype, shape and data_offsets")
    if not isinstance(described["dtype"], str):
        raise BadFile(path, f"{brief(name)}: dtype", "must be a string")
    for key, most in (("shape", 16), ("data_offsets", 2)):
        if not _naturals(described[key], most):
            raise BadFile(path, f"{brief(name)}: {key}", f"must be at most {most} whole numbers, not negative")
    if len(described["data_offsets"]) != 2:
        raise BadFile(path, f"{brief(name)}: data_offsets", "must be two numbers")
    return described["dtype"], tuple(described["shape"]), tuple(described["data_offsets"])


def _naturals(value: object, most: int) -> bool:
    return isinstance(value, list) and len(value) <= most and all(type(n) is int and 0 <= n < 1 << 63 for n in value)


def _check_no_holes(entries: dict[str, Entry], size: int, path: Path) -> None:
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].data.size)):
        if entry.begin != end:
            problem = f"begins at {entry.begin}, but the data before it ends at {end}: an overlap or a hole"
            raise BadFile(path, f"{brief(name)}: data_offsets", problem)
        end += entry.data.size
    if end != size:
        raise BadFile(path, "data", f"{size - end} bytes after the last tensor belong to none")


def _check_scales(name: str, scales: Entry, matrix: Entry) -> None:
    if len(matrix.shape) != 2:
        raise BadFile(
            matrix.path, f"{brief(name)}: shape", f"scales a tensor of {len(matrix.shape)} axes; 2 are allowed"
        )
    expected = tuple(ceil(n / F8_BLOCK) for n in matrix.shape)
    if (scales.dtype, scales.shape) != ("F32", expected):
        problem = f"is {scales.dtype} of shape {scales.shape}; scales of {matrix.shape} must be F32 of {expected}"
        raise BadFile(scales.path, brief(name), problem)

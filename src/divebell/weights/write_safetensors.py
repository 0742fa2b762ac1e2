"""Writing safetensors (huggingface/safetensors README): one file, or shards with an index as the hub has them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from divebell.weights.entry import Entry
from divebell.weights.formats import OWN
from divebell.weights.mapped import draft
from divebell.weights.write_gguf import write_pieces

SHARD_BYTES = 4_000_000_000


def write_safetensors(folder: Path, entries: Sequence[Entry], data: Iterator[np.ndarray]) -> None:
    """Into `folder`, which exists. data: as `write_gguf` takes it. The index is written last."""
    shards = _shards(entries)
    names = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    if len(shards) == 1:
        names = ["model.safetensors"]
    for name, shard in zip(names, shards, strict=True):
        write_file(folder / name, shard, data)
    if len(shards) > 1:
        places = {stored_name(entry): name for name, shard in zip(names, shards, strict=True) for entry in shard}
        index = {"metadata": {"total_size": sum(e.nbytes for e in entries)}, "weight_map": places}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")


def stored_name(entry: Entry) -> str:
    """D4 and D8 are no types of safetensors: the name says what the bytes are (see `safetensors`)."""
    return f"{entry.name}.{entry.format.name}" if entry.format in OWN else entry.name


def _described(entry: Entry) -> dict[str, object]:
    if entry.format not in OWN:
        return {"dtype": entry.format.name, "shape": entry.shape}
    return {"dtype": "U8", "shape": (*entry.shape[:-1], entry.format.nbytes(entry.shape[-1:]))}


def _shards(entries: Sequence[Entry]) -> list[list[Entry]]:
    shards, filled = [[]], 0
    for entry in entries:
        if shards[-1] and filled + entry.nbytes > SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append(entry)
        filled += entry.nbytes
    return shards


def write_file(path: Path, entries: Sequence[Entry], data: Iterator[np.ndarray]) -> None:
    header, begin = {}, 0
    for entry in entries:
        offsets = [begin, begin + entry.nbytes]
        header[stored_name(entry)] = _described(entry) | {"data_offsets": offsets}
        begin = offsets[1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with draft(path) as part, open(part, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for entry in entries:
            write_pieces(file, entry, data)

"""An adapter added into the weights: W + scale * B A, some rows at a time, in a checkpoint as Hugging Face has it.

LoRA: arXiv 2106.09685, section 4.1. Sums are float32; what is written has the format of the base where released files
have it (float32, float16, bfloat16, FP8 in blocks), and is bfloat16 where they do not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from divebell import models
from divebell.errors import Mismatch
from divebell.models.changes import Factors, changes
from divebell.models.released import Released, released
from divebell.models.released_config import released_config
from divebell.models.write import check_new_folder, write_folder
from divebell.ops import native
from divebell.weights.adapter import AdapterFile
from divebell.weights.entry import Entry
from divebell.weights.floats import packed, packed_f8
from divebell.weights.formats import BF16, F8_BLOCK, F8_E4M3, F16, F32, Format
from divebell.weights.safetensors import SCALE_SUFFIX
from divebell.weights.tensor import Tensor

TILE = 1 << 20  # numbers at a time
_DTYPES = {F32: "float32", F16: "float16", BF16: "bfloat16"}


@dataclass(frozen=True, slots=True)
class Merge:
    """What will be written. factors: by the tensor's name."""

    checkpoint: Any
    tensors: list[Released]
    factors: dict[str, Factors]

    @property
    def entries(self) -> list[Entry]:
        return [entry for tensor in self.tensors for entry in _entries(tensor)]

    @property
    def nbytes(self) -> int:
        return sum(entry.nbytes for entry in self.entries)

    def write(self, out: Path) -> None:
        """A folder, which appears at `out` when it is complete.

        Raises BadInput as `check_new_folder` does, Mismatch where a sum is no number.
        """
        check_new_folder(out, self.nbytes)
        pieces = (piece for tensor in self.tensors for piece in self._pieces(tensor))
        write_folder(self.checkpoint, out, self.entries, pieces, self.config())

    def config(self) -> dict[str, Any]:
        """What config.json says of the result."""
        checkpoint, own = self.checkpoint, ("torch_dtype", "dtype", "quantization_config")
        if checkpoint.kind == "gguf":
            return released_config(checkpoint) | {"torch_dtype": _dtype(self.entries)}
        if (checkpoint.config.get("quantization_config") or {}).get("quant_method") != "divebell":
            return checkpoint.config
        kept = {key: value for key, value in checkpoint.config.items() if key not in own}
        return kept | {"torch_dtype": _dtype(self.entries)}

    def _pieces(self, stored: Released) -> Iterator[np.ndarray]:
        tensor, format, factors = stored.make(), _format(stored), self.factors.get(stored.name)
        if factors is None and format is tensor.format:
            yield from _as_it_is(tensor)
        elif format is F8_E4M3:
            scheme = self.checkpoint.config.get("quantization_config") or {}
            yield from packed_f8(_tiles(tensor, factors), scheme.get("scale_fmt") == "ue8m0")
        else:
            yield from (packed(tile, format) for tile in _tiles(tensor, factors))


def plan(checkpoint: Any, adapter: AdapterFile) -> Merge:
    """Raises Mismatch for an adapter of another model, and as opening the model does."""
    module = models.architecture(checkpoint.architecture, checkpoint.path)
    config = models.configuration(checkpoint).released()
    found = changes(adapter, module, config)
    names = {p.name: p.stored_names("safetensors") for p in module.parameters(config)}
    factors = {names[own][expert or 0]: factors for (own, expert), factors in found.items()}
    return Merge(checkpoint, released(checkpoint), factors)


def _format(stored: Released) -> Format:
    return stored.format if stored.scaled or stored.format in _DTYPES else BF16


def _entries(stored: Released) -> list[Entry]:
    entry = Entry(stored.name, stored.shape, _format(stored))
    if not stored.scaled:
        return [entry]
    return [entry, Entry(stored.name + SCALE_SUFFIX, tuple(-(-n // F8_BLOCK) for n in stored.shape), F32)]


def _dtype(entries: list[Entry]) -> str:
    """Of most numbers."""
    sizes = {format: sum(e.count for e in entries if e.format is format) for format in _DTYPES}
    return _DTYPES[max(sizes, key=sizes.get)]


def _as_it_is(tensor: Tensor) -> Iterator[np.ndarray]:
    yield tensor.data
    if tensor.scales is not None:
        yield np.ascontiguousarray(tensor.scales).reshape(-1).view(np.uint8)


def _tiles(tensor: Tensor, factors: Factors | None) -> Iterator[np.ndarray]:
    """float32 (rows, columns), a multiple of an FP8 block's rows at a time."""
    rows = tensor.reshape(prod(tensor.shape[:-1]), tensor.shape[-1])
    step = max(1, TILE // (rows.shape[1] * F8_BLOCK)) * F8_BLOCK
    for begin in range(0, len(rows), step):
        tile = native.decode(native.weight(rows[begin : begin + step]))
        if factors is not None:
            tile += factors.product(slice(begin, begin + step))
        if not np.isfinite(tile).all():
            raise Mismatch(f"tensor {tensor.name}: a sum is NaN or infinite; the model or the adapter is damaged")
        yield tile

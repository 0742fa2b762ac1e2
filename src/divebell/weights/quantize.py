"""Weights into another number format: while they are loaded, or for a file.

D8 and D4 are ours (`decoding.d8`); how their scales are chosen is in native/ops/quantize.
"""

from collections.abc import Iterator
from math import prod

import numpy as np

from divebell import _native
from divebell.errors import BadInput, Mismatch
from divebell.weights.floats import packed
from divebell.weights.formats import BF16, D4, D8, F32, OWN, Format
from divebell.weights.tensor import Tensor

TARGETS = {"f32": F32, "bf16": BF16, "q8": D8, "q4": D4}
CHUNK = 1 << 17  # numbers at a time, so that intermediates stay in the processor's cache and memory stays bounded


def convert(tensor: Tensor, target: str) -> Tensor:
    """The tensor in the format that "f32", "bf16", "q8" (D8) or "q4" (D4) names; itself if it is so already.

    Vectors (norms, biases), and matrices whose rows are no whole number of blocks, become float32 instead.
    Raises BadInput for another target, Mismatch if q8 or q4 meets NaN, infinity, or a block beyond float16's range.
    """
    format = _format_for(tensor, target)
    if tensor.format is format:
        return tensor
    data = tensor.f32().reshape(-1).view(np.uint8) if format is F32 else _encode(tensor, format)
    return Tensor(tensor.name, format, tensor.shape, data)


def _format_for(tensor: Tensor, target: str) -> Format:
    if target not in TARGETS:
        raise BadInput(f"weights is {target!r}; it must be one of {', '.join(TARGETS)}")
    format = TARGETS[target]
    return format if len(tensor.shape) > 1 and tensor.shape[-1] % format.block == 0 else F32


def _encode(tensor: Tensor, format: Format) -> np.ndarray:
    out, done = np.empty(format.nbytes(tensor.shape), np.uint8), 0
    for piece in encoded(tensor, format):
        out[done : done + piece.size] = piece
        done += piece.size
    return out


def encoded(tensor: Tensor, format: Format, importance: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """The tensor's bytes in BF16, D4 or D8, some rows at a time: uint8.

    importance: float32 (columns,), or (parts, columns) for a stack of that many; how much each column's error counts.
    Raises Mismatch where D4 or D8 meets NaN, infinity or a number out of float16's range.
    """
    if importance is not None and importance.ndim > 1:
        for part, own in zip(tensor.split(), importance, strict=True):
            yield from encoded(part, format, own)
        return
    rows = tensor.reshape(prod(tensor.shape[:-1]), tensor.shape[-1])
    step = max(1, CHUNK // max(1, tensor.shape[-1]))
    for begin in range(0, len(rows), step):
        numbers = rows[begin : begin + step].f32()
        yield _own(numbers, tensor.name, format, importance) if format in OWN else packed(numbers, BF16)


def _own(numbers: np.ndarray, name: str, format: Format, importance: np.ndarray | None) -> np.ndarray:
    out = np.empty((len(numbers), format.nbytes(numbers.shape[1:])), np.uint8)
    if not np.isfinite(numbers).all() or _native.quantize(format.number, numbers, importance, out) >= 0:
        problem = "holds NaN, infinity or a number too large for 8 or 4 bits; load it with weights='f32'"
        raise Mismatch(f"tensor {name} {problem}")
    return out.reshape(-1)

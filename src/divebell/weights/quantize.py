"""Weights into another number format while they are loaded.

Q8_0 and Q4_0: ggml's `quantize_row_q8_0_ref` and `quantize_row_q4_0_ref`, bit for bit as the `gguf` package has them.
"""

from math import prod

import numpy as np

from divebell.errors import BadInput, Mismatch
from divebell.weights.formats import BF16, F32, Q4_0, Q8_0, Format
from divebell.weights.tensor import Tensor

TARGETS = {"f32": F32, "bf16": BF16, "q8": Q8_0, "q4": Q4_0}
CHUNK = 1 << 17  # numbers at a time, so that intermediates stay in the processor's cache and memory stays bounded


def convert(tensor: Tensor, target: str) -> Tensor:
    """The tensor in the format that "f32", "bf16", "q8" (Q8_0) or "q4" (Q4_0) names; itself if it is so already.

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
    rows = tensor.reshape(prod(tensor.shape[:-1]), tensor.shape[-1])
    out = np.empty((len(rows), format.nbytes(tensor.shape[-1:])), np.uint8)
    step = max(1, CHUNK // max(1, tensor.shape[-1]))
    for begin in range(0, len(rows), step):
        numbers = rows[begin : begin + step].f32()
        out[begin : begin + step] = ENCODERS[format.name](numbers, tensor.name).reshape(len(numbers), -1)
    return out.reshape(-1)


def _bf16(numbers: np.ndarray, name: str) -> np.ndarray:
    """To the nearest, ties to even; NaN stays NaN."""
    bits = numbers.view(np.uint32)
    quiet = bits & 0xFFFF0000 | 0x400000
    rounded = np.where(np.isnan(numbers), quiet, bits + 0x7FFF + (bits >> 16 & 1))
    return (rounded >> 16).astype(np.uint16).view(np.uint8)


def _q8_0(numbers: np.ndarray, name: str) -> np.ndarray:
    blocks = numbers.reshape(-1, Q8_0.block)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    halves = _halves(scale, name)
    scaled = blocks * _inverse(scale)
    magnitude = np.abs(scaled)
    whole = np.floor(magnitude)
    whole += magnitude - whole >= 0.5
    quants = np.copysign(whole, scaled).astype(np.int8).view(np.uint8)
    return np.concatenate([halves, quants], axis=1)


def _q4_0(numbers: np.ndarray, name: str) -> np.ndarray:
    blocks = numbers.reshape(-1, Q4_0.block)
    largest = np.abs(blocks).argmax(axis=1)[:, None]
    scale = np.take_along_axis(blocks, largest, axis=1) / np.float32(-8)
    halves = _halves(scale, name)
    scaled = blocks * _inverse(scale) + np.float32(8.5)
    quants = np.minimum(scaled, np.float32(15)).astype(np.uint8)
    return np.concatenate([halves, quants[:, :16] | quants[:, 16:] << 4], axis=1)


def _inverse(scale: np.ndarray) -> np.ndarray:
    """0 for the scales that float16 flushes to 0 and whose inverse float32 can't hold."""
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scale
    return np.where(np.isfinite(inverse), inverse, np.float32(0))


def _halves(scale: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        half = scale.astype(np.float16)
    if not np.isfinite(half).all():
        problem = "holds NaN, infinity or a number too large for 8 or 4 bits; load it with weights='f32'"
        raise Mismatch(f"tensor {name} {problem}")
    return half.view(np.uint8)


ENCODERS = {"BF16": _bf16, "Q8_0": _q8_0, "Q4_0": _q4_0}

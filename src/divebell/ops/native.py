"""The ops in C++ (native/ops): what people run. The contract of each is in `divebell.ops`."""

from collections.abc import Sequence

import numpy as np

from divebell import _native
from divebell._native import Experts, Weight
from divebell.weights.tensor import Tensor

threads = _native.threads
set_threads = _native.set_threads


def _floats(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x, np.float32)


def weight(tensor: Tensor) -> Weight | list[Weight]:
    """A matrix (rows, cols) in its stored blocks, without a copy; of a stack, the list of its matrices."""
    if len(tensor.shape) > 2:
        return [weight(matrix) for matrix in tensor.split()]
    rows, cols = tensor.shape
    scales = None if tensor.scales is None else _floats(tensor.scales)
    return Weight(tensor.format.number, tensor.data, rows, cols, scales, tensor.first_row)


def experts(
    gates: Sequence[Tensor],
    ups: Sequence[Tensor],
    downs: Sequence[Tensor],
    shared: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Experts:
    """shared: gate, up and down of an expert that every token passes with weight 1, added by `moe` in the same call."""
    parts = [[weight(tensor) for tensor in part] for part in (gates, ups, downs, shared or ())]
    return Experts(*parts, owners=[w for part in parts for w in part])


def embed(table: Weight, ids: np.ndarray) -> np.ndarray:
    out = np.empty((len(ids), table.shape[1]), np.float32)
    _native.embed(table, np.ascontiguousarray(ids, np.int32), out)
    return out


def decode(table: Weight) -> np.ndarray:
    """All rows as float32 (rows, cols), bit-equal to the format's definition."""
    out = np.empty(table.shape, np.float32)
    _native.decode(table, out)
    return out


def linears(
    x: np.ndarray, weights: Sequence[Weight], biases: Sequence[np.ndarray | None] | None = None
) -> list[np.ndarray]:
    outs = [np.empty((len(x), w.shape[0]), np.float32) for w in weights]
    _native.linears(_floats(x), weights, biases or [None] * len(weights), outs)
    return outs


def swiglu(x: np.ndarray, gate: Weight, up: Weight, down: Weight) -> np.ndarray:
    out = np.empty_like(x, np.float32, order="C")
    _native.swiglu(_floats(x), gate, up, down, out)
    return out


def moe(x: np.ndarray, ids: np.ndarray, weights: np.ndarray, experts: Experts) -> np.ndarray:
    out = np.empty_like(x, np.float32, order="C")
    _native.moe(_floats(x), np.ascontiguousarray(ids, np.int32), _floats(weights), experts, out)
    return out


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    out = np.empty(x.shape, np.float32)
    width = x.shape[-1]
    _native.rms_norm(_floats(x).reshape(-1, width), _floats(weight), eps, out.reshape(-1, width))
    return out

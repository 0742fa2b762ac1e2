"""The ops in C++ (native/ops): what people run. The contract of each is in `divebell.ops`."""

from collections.abc import Sequence
from math import prod

import numpy as np

from divebell import _native
from divebell._native import Experts, UpProjections, Weight
from divebell._native import Recording as Recording
from divebell.ops import BLOCK, Router
from divebell.ops.batch import Batch
from divebell.ops.reference import joined as joined
from divebell.ops.reference import vector as vector
from divebell.weights.tensor import Tensor

threads = _native.threads
set_threads = _native.set_threads
# Frees the memory of dropped arrays that no other has taken since the last call; returns its bytes.
let_go = _native.let_go

_MANY = 1 << 14


def _floats(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x, np.float32)


def _empty(shape: tuple[int, ...]) -> np.ndarray:
    """Large ones in memory that another array had before."""
    return _native.empty(shape) if prod(shape) > _MANY else np.empty(shape, np.float32)


def weight(tensor: Tensor) -> Weight | list[Weight]:
    """A matrix (rows, cols) in its stored blocks, without a copy; of a stack, the list of its matrices."""
    if len(tensor.shape) > 2:
        return [weight(matrix) for matrix in tensor.split()]
    rows, cols = tensor.shape
    scales = None if tensor.scales is None else _floats(tensor.scales)
    return Weight(tensor.format.number, tensor.data, rows, cols, scales, tensor.first_row, tensor.moving)


def experts(
    gates: Sequence[Tensor],
    ups: Sequence[Tensor],
    downs: Sequence[Tensor],
    shared: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Experts:
    """shared: gate, up and down of an expert that every token passes with weight 1, added by `moe` in the same call."""
    parts = [[weight(tensor) for tensor in part] for part in (gates, ups, downs, shared or ())]
    return Experts(*parts, owners=[w for part in parts for w in part])


def up_projections(kv_b: Tensor | None = None, k_b: Tensor | None = None, v_b: Tensor | None = None) -> UpProjections:
    whole = [] if kv_b is None else [weight(kv_b)]
    keys, values = ([] if stack is None else weight(stack) for stack in (k_b, v_b))
    return UpProjections(whole, keys, values, owners=[*whole, *keys, *values])


def embed(table: Weight, ids: np.ndarray) -> np.ndarray:
    out = _empty((len(ids), table.shape[1]))
    _native.embed(table, np.ascontiguousarray(ids, np.int32), out)
    return out


def decode(table: Weight) -> np.ndarray:
    """All rows as float32 (rows, cols), bit-equal to the format's definition."""
    out = _empty(table.shape)
    _native.decode(table, out)
    return out


def linears(
    x: np.ndarray, weights: Sequence[Weight], biases: Sequence[np.ndarray | None] | None = None
) -> list[np.ndarray]:
    outs = [_empty((len(x), w.shape[0])) for w in weights]
    _native.linears(_floats(x), weights, biases or [None] * len(weights), outs)
    return outs


def gated(gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    out = _empty(up.shape)
    _native.gated(_floats(gate), _floats(up), out)
    return out


def swiglu(x: np.ndarray, gate: Weight, up: Weight, down: Weight) -> np.ndarray:
    out = _empty(x.shape)
    _native.swiglu(_floats(x), gate, up, down, out)
    return out


def moe(x: np.ndarray, ids: np.ndarray, weights: np.ndarray, experts: Experts) -> np.ndarray:
    out = _empty(x.shape)
    _native.moe(_floats(x), np.ascontiguousarray(ids, np.int32), _floats(weights), experts, out)
    return out


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    out = _empty(x.shape)
    width = x.shape[-1]
    _native.rms_norm(_floats(x).reshape(-1, width), _floats(weight), eps, out.reshape(-1, width))
    return out


def add(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    out = _empty(x.shape)
    width = x.shape[-1]
    _native.add(_floats(x).reshape(-1, width), _floats(y).reshape(-1, width), out.reshape(-1, width))
    return out


def rotate(x: np.ndarray, positions: np.ndarray, table: np.ndarray, interleaved: bool) -> np.ndarray:
    out = _empty(x.shape)
    _native.rotate(_floats(x), np.ascontiguousarray(positions, np.int32), table, interleaved, out)
    return out


def route(logits: np.ndarray, bias: np.ndarray | None, router: Router) -> tuple[np.ndarray, np.ndarray]:
    ids = np.empty((len(logits), router.top_k), np.int32)
    weights = _empty(ids.shape)
    sigmoid, two_best = router.score == "sigmoid", router.group_score == "top2"
    groups = router.groups, router.kept_groups
    _native.route(_floats(logits), bias, *groups, sigmoid, two_best, router.renormalise, router.scale, ids, weights)
    return ids, weights


def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    pages: tuple[np.ndarray, np.ndarray],
    batch: Batch,
    scale: float,
    window: int | None,
) -> np.ndarray:
    out = _empty((len(q), q.shape[1] * v.shape[2]))
    keys, values = (_bits(component) for component in pages)
    _native.attention(_floats(q), _floats(k), _floats(v), keys, values, *_places(batch), scale, window or 0, out)
    return out


def mla(
    q: np.ndarray, latent: np.ndarray, pages: np.ndarray, up: UpProjections, batch: Batch, scale: float
) -> np.ndarray:
    tokens, heads, dim = q.shape
    nope = dim - (latent.shape[1] - up.rank)
    out = _empty((tokens, up.rows if up.split else up.rows - heads * nope))
    _native.mla(_floats(q), _floats(latent), _bits(pages), up, *_places(batch), scale, out)
    return out


def block_maxima(x: np.ndarray) -> np.ndarray:
    out = _empty(_blocks(x))
    _native.block_maxima(_floats(x).reshape(-1, x.shape[-1]), out.reshape(-1, out.shape[-1]))
    return out


def block_sums(x: np.ndarray, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    maxima, sums = _empty(_blocks(x)), _empty(_blocks(x))
    outs = (out.reshape(-1, out.shape[-1]) for out in (maxima, sums))
    _native.block_sums(_floats(x).reshape(-1, x.shape[-1]), 1 / temperature, *outs)
    return maxima, sums


def at_least(row: np.ndarray, maxima: np.ndarray, threshold: float) -> np.ndarray:
    searched = len(maxima) - np.count_nonzero(maxima < np.float32(threshold))
    ids = np.empty(searched * BLOCK, np.int32)
    return ids[: _native.at_least(_floats(row), maxima, threshold, ids)]


def _blocks(x: np.ndarray) -> tuple[int, ...]:
    return (*x.shape[:-1], -(-x.shape[-1] // BLOCK))


def _bits(pages: np.ndarray) -> np.ndarray:
    """bfloat16, which the binding does not know, as the 16-bit integers it is made of."""
    return pages.view(np.uint16) if pages.dtype.itemsize == 2 else pages


def _places(batch: Batch) -> tuple[np.ndarray, ...]:
    return batch.positions, batch.starts, batch.lengths, batch.pages

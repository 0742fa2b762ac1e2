"""The ops in numpy float32, in their shortest correct form: what every other implementation is held against."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from divebell.ops import BLOCK, Router
from divebell.ops.batch import Batch
from divebell.weights.tensor import Tensor

Weight = np.ndarray
Feed = tuple[np.ndarray, np.ndarray, np.ndarray]  # gate, up, down


@dataclass(frozen=True, slots=True)
class Experts:
    routed: list[Feed]
    shared: Feed | None


@dataclass(frozen=True, slots=True)
class UpProjections:
    """From a latent: either kv_b (H * (nope + v), rank), or k_b (H, rank, nope) and v_b (H, v, rank)."""

    kv_b: np.ndarray | None
    k_b: np.ndarray | None
    v_b: np.ndarray | None

    def split(self, heads: int, nope: int) -> tuple[np.ndarray, np.ndarray]:
        """(H, nope, rank) for keys, (H, v, rank) for values."""
        if self.kv_b is None:
            return self.k_b.transpose(0, 2, 1), self.v_b
        rows = self.kv_b.reshape(heads, -1, self.kv_b.shape[-1])
        return rows[:, :nope], rows[:, nope:]


def weight(tensor: Tensor) -> Weight:
    return tensor.f32()


def experts(
    gates: Sequence[Tensor],
    ups: Sequence[Tensor],
    downs: Sequence[Tensor],
    shared: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Experts:
    routed = [(gate.f32(), up.f32(), down.f32()) for gate, up, down in zip(gates, ups, downs, strict=True)]
    return Experts(routed, shared and tuple(tensor.f32() for tensor in shared))


def up_projections(kv_b: Tensor | None = None, k_b: Tensor | None = None, v_b: Tensor | None = None) -> UpProjections:
    return UpProjections(*(None if tensor is None else tensor.f32() for tensor in (kv_b, k_b, v_b)))


def vector(values: np.ndarray) -> np.ndarray:
    return values


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts, axis=-1)


def gated(gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    return gate * _sigmoid(gate) * up


def embed(table: Weight, ids: np.ndarray) -> np.ndarray:
    return table[ids]


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    normed, rest = np.split(x, [len(weight)], axis=-1)
    mean_square = np.mean(normed * normed, axis=-1, keepdims=True, dtype=np.float32)
    return np.concatenate([normed / np.sqrt(mean_square + np.float32(eps)) * weight, rest], axis=-1)


def add(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x + y


def linears(
    x: np.ndarray, weights: Sequence[Weight], biases: Sequence[np.ndarray | None] | None = None
) -> list[np.ndarray]:
    products = [x @ w.T for w in weights]
    return [p if b is None else p + b for p, b in zip(products, biases or [None] * len(weights), strict=True)]


def swiglu(x: np.ndarray, gate: Weight, up: Weight, down: Weight) -> np.ndarray:
    return gated(x @ gate.T, x @ up.T) @ down.T


def rotate(x: np.ndarray, positions: np.ndarray, table: np.ndarray, interleaved: bool) -> np.ndarray:
    width = table.shape[1]
    cos, sin = np.split(table[positions][:, None, :], 2, axis=-1)
    first, second = _pairs(width, interleaved)
    head, tail = x[..., : x.shape[-1] - width], x[..., x.shape[-1] - width :]
    rotated = np.empty_like(tail)
    rotated[..., first] = tail[..., first] * cos - tail[..., second] * sin
    rotated[..., second] = tail[..., second] * cos + tail[..., first] * sin
    return np.concatenate([head, rotated], axis=-1)


def route(logits: np.ndarray, bias: np.ndarray | None, router: Router) -> tuple[np.ndarray, np.ndarray]:
    scores = _softmax(logits) if router.score == "softmax" else _sigmoid(logits)
    choice = scores if bias is None else scores + bias
    choice = np.where(_kept(choice, router), choice, -np.inf)
    ids = np.argsort(-choice, axis=-1, kind="stable")[:, : router.top_k]
    weights = np.take_along_axis(scores, ids, axis=-1)
    if router.renormalise:
        weights = weights / (weights.sum(axis=-1, keepdims=True) + np.float32(1e-20))
    return ids.astype(np.int32), weights * np.float32(router.scale)


def moe(x: np.ndarray, ids: np.ndarray, weights: np.ndarray, experts: Experts) -> np.ndarray:
    out = swiglu(x, *experts.shared) if experts.shared else np.zeros_like(x)
    for expert in np.unique(ids):
        tokens, slots = np.nonzero(ids == expert)
        out[tokens] += weights[tokens, slots, None] * swiglu(x[tokens], *experts.routed[expert])
    return out


def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    pages: tuple[np.ndarray, np.ndarray],
    batch: Batch,
    scale: float,
    window: int | None,
) -> np.ndarray:
    key_pages, value_pages = pages
    _store(key_pages, k.reshape(len(k), -1), batch)
    _store(value_pages, v.reshape(len(v), -1), batch)
    out = np.empty((len(q), q.shape[1], v.shape[2]), np.float32)
    for s, tokens in _sequences(batch):
        keys = _stored(key_pages, batch, s).reshape(-1, *k.shape[1:])
        values = _stored(value_pages, batch, s).reshape(-1, *v.shape[1:])
        for head in range(q.shape[1]):
            shared = head * k.shape[1] // q.shape[1]
            scores = q[tokens, head] @ keys[:, shared].T
            out[tokens, head] = _attend(scores, batch.positions[tokens], scale, window) @ values[:, shared]
    return out.reshape(len(q), -1)


def mla(
    q: np.ndarray, latent: np.ndarray, pages: np.ndarray, up: UpProjections, batch: Batch, scale: float
) -> np.ndarray:
    rank = (up.kv_b if up.v_b is None else up.v_b).shape[-1]
    key_up, value_up = up.split(q.shape[1], q.shape[2] - (latent.shape[1] - rank))
    _store(pages, latent if pages.dtype != np.uint8 else _rounded(latent, rank), batch)
    out = np.empty((len(q), q.shape[1], value_up.shape[1]), np.float32)
    for s, tokens in _sequences(batch):
        stored = _stored(pages, batch, s)
        latents, shared_key = np.split(stored if pages.dtype != np.uint8 else _widened(stored, rank), [rank], axis=-1)
        for head in range(q.shape[1]):
            keys = np.concatenate([latents @ key_up[head].T, shared_key], axis=-1)
            probabilities = _attend(q[tokens, head] @ keys.T, batch.positions[tokens], scale, None)
            out[tokens, head] = probabilities @ (latents @ value_up[head].T)
    return out.reshape(len(q), -1)


def block_maxima(x: np.ndarray) -> np.ndarray:
    return _blocks(x).max(axis=-1)


def block_sums(x: np.ndarray, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    maxima = block_maxima(x)
    base = np.where(maxima == -np.inf, np.float32(0), maxima)
    return maxima, np.exp((_blocks(x) - base[..., None]) / np.float32(temperature)).sum(axis=-1)


def at_least(row: np.ndarray, maxima: np.ndarray, threshold: float) -> np.ndarray:
    return np.flatnonzero(row >= np.float32(threshold)).astype(np.int32)


def _blocks(x: np.ndarray) -> np.ndarray:
    """(..., blocks, BLOCK), the last block filled up with what changes neither maximum nor sum."""
    *rows, n = x.shape
    padded = np.pad(x, [(0, 0)] * len(rows) + [(0, -n % BLOCK)], constant_values=-np.inf)
    return padded.reshape(*rows, -(-n // BLOCK), BLOCK)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.float32(1) / (np.float32(1) + np.exp(-x))


def _softmax(x: np.ndarray) -> np.ndarray:
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def _pairs(width: int, interleaved: bool) -> tuple[slice, slice]:
    if interleaved:
        return slice(0, width, 2), slice(1, width, 2)
    return slice(0, width // 2), slice(width // 2, width)


def _kept(choice: np.ndarray, router: Router) -> np.ndarray:
    """Which experts lie in the best groups: bool, like `choice`."""
    groups = choice.reshape(len(choice), router.groups, choice.shape[1] // router.groups)
    best = 1 if router.group_score == "max" else 2
    group_scores = np.sort(groups, axis=-1)[..., -best:].sum(axis=-1)
    order = np.argsort(-group_scores, axis=-1, kind="stable")[:, : router.kept_groups]
    kept = np.zeros(group_scores.shape, bool)
    np.put_along_axis(kept, order, True, axis=-1)
    return np.repeat(kept, groups.shape[-1], axis=-1)


def _sequences(batch: Batch):
    for s in range(len(batch.lengths)):
        yield s, slice(batch.starts[s], batch.starts[s + 1])


def _store(pages: np.ndarray, rows: np.ndarray, batch: Batch) -> None:
    for s, tokens in _sequences(batch):
        page, slot = np.divmod(batch.positions[tokens], pages.shape[1])
        pages[batch.pages[s, page], slot] = rows[tokens]


def _stored(pages: np.ndarray, batch: Batch, s: int) -> np.ndarray:
    """All cached rows of sequence `s`, float32 (length, width), or bytes as they are."""
    page, slot = np.divmod(np.arange(batch.lengths[s]), pages.shape[1])
    rows = pages[batch.pages[s, page], slot]
    return rows if rows.dtype == np.uint8 else rows.astype(np.float32)


def _rounded(latent: np.ndarray, rank: int) -> np.ndarray:
    """Bytes (tokens, width + 8): 128 + x / scale, then the scales of the first `rank` numbers and of the rest."""
    parts = np.split(latent, [rank], axis=-1)
    scales = np.stack([np.abs(part).max(axis=-1) / np.float32(127) for part in parts], axis=-1)
    inverse = np.divide(np.float32(1), scales, where=scales > 0, out=np.zeros_like(scales))
    levels = [128 + np.rint(part * inverse[:, i, None]) for i, part in enumerate(parts)]
    return np.concatenate([*(level.astype(np.uint8) for level in levels), scales.view(np.uint8)], axis=-1)


def _widened(rows: np.ndarray, rank: int) -> np.ndarray:
    scales = np.ascontiguousarray(rows[:, -8:]).view(np.float32)
    levels = rows[:, :-8].astype(np.float32) - 128
    return np.concatenate([levels[:, :rank] * scales[:, :1], levels[:, rank:] * scales[:, 1:]], axis=-1)


def _attend(scores: np.ndarray, positions: np.ndarray, scale: float, window: int | None) -> np.ndarray:
    """Probabilities (tokens, length) of scores (tokens, length): causal, and at most `window` positions back."""
    distance = positions[:, None] - np.arange(scores.shape[1])
    hidden = distance < 0 if window is None else (distance < 0) | (distance >= window)
    return _softmax(np.where(hidden, np.float32(-np.inf), scores * np.float32(scale)))

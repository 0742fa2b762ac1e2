"""The ops in torch, with gradients: what tuning runs. The contract of each is in `divebell.ops`.

Frozen weights stay in their stored blocks, and their products are the native kernels': forward is what is served, and
backward multiplies by tiles of rows that are decoded for that moment. Weights that are trained are torch's own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch.nn import functional

from divebell.ops import Router, native
from divebell.ops.batch import Batch
from divebell.weights.tensor import Tensor

TILE = 1024  # rows decoded at a time
_FEW = 4  # times the chosen experts: where a product with all is faster than one with each

Array = torch.Tensor
Adapter = Callable[[Array, Array], Array]


class Weight:
    """A matrix (rows, cols).

    dense: torch's own numbers, which may be trained, or None while it is frozen in its stored blocks.
    adapter: None, or what adds something to the product, given the input (T, cols) and the product (T, rows), which it
    may change.
    """

    def __init__(self, tensor: Tensor):
        self.tensor, self.shape = tensor, tuple(tensor.shape)
        self.dense: Array | None = None
        self.adapter: Adapter | None = None
        self._stored = native.weight(tensor)

    def thaw(self) -> torch.nn.Parameter:
        """Makes it trained, in float32."""
        self.dense = torch.nn.Parameter(torch.from_numpy(self.tensor.f32()))
        return self.dense

    def __call__(self, x: Array) -> Array:
        """(T, cols) -> (T, rows)"""
        y = _Product.apply(x, self, False) if self.dense is None else functional.linear(x, self.dense)
        return y if self.adapter is None else self.adapter(x, y)

    def turned(self, y: Array) -> Array:
        """(T, rows) -> (T, cols), without the adapter"""
        return _Product.apply(y, self, True) if self.dense is None else y @ self.dense

    def rows(self, ids: Array) -> Array:
        if self.dense is not None:
            return functional.embedding(ids, self.dense)
        return torch.from_numpy(native.embed(self._stored, ids.numpy()))

    def product(self, x: np.ndarray) -> np.ndarray:
        return native.linears(x, [self._stored])[0]

    def turned_product(self, y: np.ndarray) -> np.ndarray:
        out, given = torch.zeros(len(y), self.shape[1]), torch.from_numpy(y)
        for begin in range(0, self.shape[0], TILE):
            tile = native.decode(native.weight(self.tensor[begin : begin + TILE]))
            out.addmm_(given[:, begin : begin + TILE], torch.from_numpy(tile))
        return out.numpy()


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Array, weight: Weight, turned: bool) -> Array:
        ctx.weight, ctx.turned = weight, turned
        return _multiply(x, weight, turned)

    @staticmethod
    def backward(ctx, gradient: Array):
        return _multiply(gradient, ctx.weight, not ctx.turned), None, None


def _multiply(x: Array, weight: Weight, turned: bool) -> Array:
    numbers = x.detach().float().contiguous().numpy()
    return torch.from_numpy(weight.turned_product(numbers) if turned else weight.product(numbers))


Feed = tuple[Weight, Weight, Weight]  # gate, up, down


@dataclass(frozen=True, slots=True)
class Experts:
    routed: list[Feed]
    shared: Feed | None


@dataclass(slots=True)
class UpProjections:
    """From a latent: either `whole` (H * (nope + v), rank), or per head keys (rank, nope) and values (v, rank)."""

    whole: Weight | None
    keys: list[Weight]
    values: list[Weight]
    adapter: Adapter | None = None

    @property
    def rank(self) -> int:
        return self.whole.shape[1] if self.whole else self.values[0].shape[1]

    def __call__(self, latents: Array, heads: int) -> Array:
        """(T, rank) -> (T, H, nope + v)"""
        if self.whole:
            return self.whole(latents).unflatten(-1, (heads, -1))
        pairs = zip(self.keys, self.values, strict=True)
        up = torch.stack([torch.cat([key.turned(latents), value(latents)], -1) for key, value in pairs], 1)
        return up if self.adapter is None else self.adapter(latents, up.flatten(1)).view(up.shape)


def weight(tensor: Tensor) -> Weight | list[Weight]:
    return [weight(matrix) for matrix in tensor.split()] if len(tensor.shape) > 2 else Weight(tensor)


def experts(
    gates: Sequence[Tensor],
    ups: Sequence[Tensor],
    downs: Sequence[Tensor],
    shared: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Experts:
    routed = [tuple(map(Weight, feed)) for feed in zip(gates, ups, downs, strict=True)]
    return Experts(routed, shared and tuple(map(Weight, shared)))


def up_projections(kv_b: Tensor | None = None, k_b: Tensor | None = None, v_b: Tensor | None = None) -> UpProjections:
    keys, values = ([] if stack is None else weight(stack) for stack in (k_b, v_b))
    return UpProjections(None if kv_b is None else Weight(kv_b), keys, values)


def vector(values: np.ndarray) -> Array:
    return torch.nn.Parameter(torch.from_numpy(values), requires_grad=False)


def joined(parts: Sequence[Array]) -> Array:
    return torch.cat(tuple(parts), dim=-1)


def gated(gate: Array, up: Array) -> Array:
    return functional.silu(gate) * up


def embed(table: Weight, ids: np.ndarray) -> Array:
    return table.rows(torch.from_numpy(ids))


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    normed = functional.rms_norm(x[..., : len(weight)], weight.shape, weight, eps)
    return normed if len(weight) == x.shape[-1] else torch.cat([normed, x[..., len(weight) :]], dim=-1)


def add(x: Array, y: Array) -> Array:
    return x + y


def linears(x: Array, weights: Sequence[Weight], biases: Sequence[Array | None] | None = None) -> list[Array]:
    products = [w(x) for w in weights]
    return [p if b is None else p + b for p, b in zip(products, biases or [None] * len(weights), strict=True)]


def swiglu(x: Array, gate: Weight, up: Weight, down: Weight) -> Array:
    return down(gated(gate(x), up(x)))


def rotate(x: Array, positions: np.ndarray, table: np.ndarray, interleaved: bool) -> Array:
    width = table.shape[1]
    cos, sin = torch.from_numpy(table[positions][:, None]).to(x.dtype).chunk(2, dim=-1)
    head, tail = x[..., : x.shape[-1] - width], x[..., x.shape[-1] - width :]
    first, second = tail.unflatten(-1, (-1, 2)).unbind(-1) if interleaved else tail.chunk(2, dim=-1)
    turned = first * cos - second * sin, second * cos + first * sin
    tail = torch.stack(turned, dim=-1).flatten(-2) if interleaved else torch.cat(turned, dim=-1)
    return torch.cat([head, tail], dim=-1)


def route(logits: Array, bias: Array | None, router: Router) -> tuple[Array, Array]:
    scores = scores_of(logits, router)
    ids = _chosen(scores.detach() if bias is None else scores.detach() + bias.detach(), router)
    weights = scores.gather(-1, ids)
    if router.renormalise:
        weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
    return ids, weights * router.scale


def scores_of(logits: Array, router: Router) -> Array:
    return logits.softmax(-1) if router.score == "softmax" else logits.sigmoid()


def _chosen(choice: Array, router: Router) -> Array:
    """ids (T, k), the lower one on a tie."""
    groups = choice.unflatten(-1, (router.groups, -1))
    best = groups.topk(1 if router.group_score == "max" else 2, dim=-1).values.sum(-1)
    order = best.sort(dim=-1, descending=True, stable=True).indices[:, : router.kept_groups]
    kept = torch.zeros_like(best, dtype=torch.bool).scatter(-1, order, True)
    choice = groups.masked_fill(~kept[..., None], -torch.inf).flatten(-2)
    return choice.sort(dim=-1, descending=True, stable=True).indices[:, : router.top_k]


def moe(x: Array, ids: Array, weights: Array, experts: Experts) -> Array:
    out = _side_by_side(x, ids, weights, experts) if _meant_for_many(ids, experts) else _dealt(x, ids, weights, experts)
    return out + swiglu(x, *experts.shared) if experts.shared else out


def _meant_for_many(ids: Array, experts: Experts) -> bool:
    """Whether one product of all experts with all tokens is the faster way, and takes no more memory."""
    trained = all(weight.dense is not None and not weight.adapter for feed in experts.routed for weight in feed)
    (width, hidden), count, chosen = experts.routed[0][0].shape, len(experts.routed), ids.shape[1]
    return trained and count <= _FEW * chosen and count * width <= chosen * hidden


def _side_by_side(x: Array, ids: Array, weights: Array, experts: Experts) -> Array:
    """As one wide feed-forward block, in which what was not chosen counts nothing."""
    gate, up, down = ([weight.dense for weight in part] for part in zip(*experts.routed, strict=True))
    counted = weights.new_zeros(len(x), len(gate)).scatter_add(1, ids, weights)
    inner = gated(x @ torch.cat(gate).T, x @ torch.cat(up).T).unflatten(1, (len(gate), -1))
    return (inner * counted[..., None]).flatten(1) @ torch.cat(down, 1).T


def _dealt(x: Array, ids: Array, weights: Array, experts: Experts) -> Array:
    """Tokens lie expert by expert meanwhile, so that they are moved once and not for each expert."""
    order = ids.flatten().argsort(stable=True)
    counts = ids.flatten().bincount(minlength=len(experts.routed)).tolist()
    parts = _Dealt.apply(x, order, ids.shape[1]).split(counts)
    fed = torch.cat([swiglu(part, *feed) for part, feed in zip(parts, experts.routed, strict=True) if len(part)])
    own = _Dealt.apply(fed, order.argsort(), 1).view(*ids.shape, -1)
    return torch.einsum("tk,tkd->td", weights, own)


class _Dealt(torch.autograd.Function):
    """Row i is x's row order[i] // times, each of which is there `times` times; torch's own indexing would lead back
    one row after the other."""

    @staticmethod
    def forward(ctx, x: Array, order: Array, times: int) -> Array:
        ctx.order, ctx.times = order, times
        return x[order // times]

    @staticmethod
    def backward(ctx, gradient: Array):
        return gradient[ctx.order.argsort()].unflatten(0, (-1, ctx.times)).sum(1), None, None


def attention(q: Array, k: Array, v: Array, pages: object, batch: Batch, scale: float, window: int | None) -> Array:
    return torch.cat([_attend(q[own], k[own], v[own], scale, window) for own in _sequences(batch)]).flatten(1)


def mla(q: Array, latent: Array, pages: object, up: UpProjections, batch: Batch, scale: float) -> Array:
    heads, nope = q.shape[1], q.shape[2] - (latent.shape[1] - up.rank)
    latents, shared_key = latent[:, : up.rank], latent[:, None, up.rank :].expand(-1, heads, -1)
    both = up(latents, heads)
    keys = torch.cat([both[..., :nope], shared_key.to(both.dtype)], dim=-1)
    return attention(q, keys, both[..., nope:], pages, batch, scale, None)


def _sequences(batch: Batch) -> Iterator[slice]:
    for begin, end in pairwise(batch.starts.tolist()):
        yield slice(begin, end)


def _attend(q: Array, k: Array, v: Array, scale: float, window: int | None) -> Array:
    """One sequence, from its first token on: (T, H, D), (T, G, D), (T, G, v_dim) -> (T, H, v_dim).

    Values as wide as keys, or torch would keep a (T, T) array for each head.
    """
    width = v.shape[-1]
    v = functional.pad(v, (0, max(0, q.shape[-1] - width)))
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
    mask = None if window is None or window >= q.shape[2] else _banded(q.shape[2], window)
    grouped = k.shape[1] != q.shape[1]
    settings = {"scale": scale, "attn_mask": mask, "is_causal": mask is None, "enable_gqa": grouped}
    return functional.scaled_dot_product_attention(q, k, v, **settings)[0, ..., :width].transpose(0, 1)


def _banded(length: int, window: int) -> Array:
    seen = torch.ones(length, length, dtype=torch.bool)
    return seen.tril().triu(1 - window)

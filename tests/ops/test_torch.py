"""Ops on torch: values as `reference` has them, and gradients against finite differences in float64."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from divebell.ops import Router, reference
from divebell.ops import torch as ops
from divebell.ops.batch import Batch
from divebell.weights.formats import F32, Q8_0
from divebell.weights.tensor import Tensor

RANDOM = np.random.default_rng(5)
BATCH = Batch.of([np.arange(5), np.arange(3)], [0, 0], [[0], [1]])
ROUTERS = {
    "V2": Router(top_k=3, groups=4, kept_groups=2, scale=2.0),
    "V3": Router(top_k=3, score="sigmoid", groups=4, kept_groups=2, group_score="top2", renormalise=True, scale=1.5),
}


def numbers(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def tensor(values: np.ndarray) -> Tensor:
    return Tensor("w", F32, values.shape, values.reshape(-1).view(np.uint8))


def dense(*shape: int) -> ops.Weight:
    weight = ops.weight(tensor(numbers(*shape)))
    weight.dense = torch.from_numpy(weight.tensor.f32()).double()
    return weight


def pages(*widths: int) -> list[np.ndarray]:
    return [np.zeros((2, 8, width), np.float32) for width in widths]


def agrees(own: torch.Tensor, expected: np.ndarray) -> None:
    torch.testing.assert_close(own, torch.from_numpy(expected), rtol=1e-4, atol=1e-5)


def differentiable(function, *shapes: tuple[int, ...]) -> None:
    inputs = [torch.from_numpy(numbers(*shape)).double().requires_grad_(True) for shape in shapes]
    assert gradcheck(function, inputs)


@pytest.mark.parametrize("interleaved", [True, False])
def test_rotate(interleaved):
    x, table = numbers(8, 2, 10), numbers(6, 6)
    expected = reference.rotate(x, BATCH.positions, table, interleaved)
    agrees(ops.rotate(torch.from_numpy(x), BATCH.positions, table, interleaved), expected)
    differentiable(lambda x: ops.rotate(x, BATCH.positions, table, interleaved), (8, 2, 10))


def test_norm_sum_and_gate():
    x, weight = numbers(8, 16), numbers(16)
    agrees(ops.rms_norm(torch.from_numpy(x), torch.from_numpy(weight), 1e-5), reference.rms_norm(x, weight, 1e-5))
    longer = numbers(8, 20)
    agrees(
        ops.rms_norm(torch.from_numpy(longer), torch.from_numpy(weight), 1e-5), reference.rms_norm(longer, weight, 1e-5)
    )
    agrees(ops.gated(torch.from_numpy(x), torch.from_numpy(2 * x)), reference.gated(x, 2 * x))
    agrees(ops.add(torch.from_numpy(x), torch.from_numpy(2 * x)), 3 * x)
    differentiable(lambda x, w: ops.rms_norm(x, w, 1e-5), (8, 16), (16,))
    differentiable(lambda x, w: ops.rms_norm(x, w, 1e-5), (8, 20), (16,))
    differentiable(ops.gated, (4, 6), (4, 6))


@pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)
def test_route(router):
    logits, bias = numbers(20, 16), numbers(16) / 10
    ids, weights = ops.route(torch.from_numpy(logits), torch.from_numpy(bias), router)
    expected_ids, expected = reference.route(logits, bias, router)
    assert (ids.numpy() == expected_ids).all()
    agrees(weights, expected)
    differentiable(lambda logits: ops.route(logits, torch.from_numpy(bias), router)[1], (4, 16))


@pytest.mark.parametrize("window", [None, 2])
def test_attention(window):
    q, k, v = numbers(8, 4, 6), numbers(8, 2, 6), numbers(8, 2, 6)
    expected = reference.attention(q, k, v, pages(12, 12), BATCH, 0.3, window)
    agrees(ops.attention(*map(torch.from_numpy, (q, k, v)), None, BATCH, 0.3, window), expected)
    differentiable(lambda q, k, v: ops.attention(q, k, v, None, BATCH, 0.3, window), (8, 4, 6), (8, 2, 6), (8, 2, 6))


@pytest.mark.parametrize("value_width", [4, 6])
def test_attention_keeps_no_array_of_length_by_length(value_width):
    length, kept = 300, []
    whole = Batch.of([np.zeros(length, np.int32)], [0], [[0]])
    shapes = (length, 4, 6), (length, 2, 6), (length, 2, value_width)
    q, k, v = (torch.from_numpy(numbers(*shape)).requires_grad_() for shape in shapes)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        ops.attention(q, k, v, None, whole, 0.3, None).sum().backward()
    assert max(kept) <= 2 * length * 4 * 6


@pytest.mark.parametrize("split", [True, False])
def test_mla(split):
    stored = {"k_b": (2, 8, 6), "v_b": (2, 5, 8)} if split else {"kv_b": (2 * (6 + 5), 8)}
    stacks = {name: tensor(numbers(*shape)) for name, shape in stored.items()}
    q, latent, up = numbers(8, 2, 10), numbers(8, 12), ops.up_projections(**stacks)
    expected = reference.mla(q, latent, pages(12)[0], reference.up_projections(**stacks), BATCH, 0.3)
    agrees(ops.mla(torch.from_numpy(q), torch.from_numpy(latent), None, up, BATCH, 0.3), expected)
    for weight in [up.whole] if up.whole else [*up.keys, *up.values]:
        weight.dense = torch.from_numpy(weight.tensor.f32()).double()
    differentiable(lambda q, latent: ops.mla(q, latent, None, up, BATCH, 0.3), (8, 2, 10), (8, 12))


@pytest.mark.parametrize("count", [3, 9], ids=["all with all tokens", "each with its own"])
def test_moe(count):
    feeds = [(dense(2, 4), dense(2, 4), dense(4, 2)) for _ in range(count)]
    ids = torch.tensor([[0, 2], [count - 1, 1], [0, 1], [1, 2]])
    experts = ops.Experts(feeds, feeds[0])
    plain = [tuple(w.dense.numpy() for w in feed) for feed in feeds]
    x, weights = numbers(4, 4).astype(np.float64), numbers(4, 2).astype(np.float64)
    own = ops.moe(torch.from_numpy(x), ids, torch.from_numpy(weights), experts)
    agrees(own, reference.moe(x, ids.numpy(), weights, reference.Experts(plain, plain[0])))

    def of_numbers(x: torch.Tensor, weights: torch.Tensor, *feed: torch.Tensor) -> torch.Tensor:
        for weight, own in zip(feeds[2], feed, strict=True):
            weight.dense = own
        return ops.moe(x, ids, weights, experts)

    differentiable(of_numbers, (4, 4), (4, 2), (2, 4), (2, 4), (4, 2))


@pytest.mark.parametrize("turned", [False, True])
def test_products_of_stored_blocks(turned, monkeypatch):
    """Quantized rows: forward and backward multiply by the numbers that the blocks stand for, tile by tile."""
    monkeypatch.setattr(ops, "TILE", 24)
    data = RANDOM.integers(0, 40, Q8_0.nbytes((80, 64)), np.uint8)
    weight = ops.weight(Tensor("w", Q8_0, (80, 64), data))
    matrix = torch.from_numpy(weight.tensor.f32())
    x = torch.from_numpy(numbers(7, 80 if turned else 64)).requires_grad_(True)
    y = weight.turned(x) if turned else weight(x)
    y.backward(gradient := torch.ones_like(y))
    forward, backward = (x @ matrix, gradient @ matrix.T) if turned else (x @ matrix.T, gradient @ matrix)
    for own, expected in ((y, forward), (x.grad, backward)):
        assert (own - expected).norm() <= 0.01 * expected.norm()

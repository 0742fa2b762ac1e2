"""The reference ops against formulas in float64, written another way, and against transformers' routers."""

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from transformers import DeepseekV2Config, DeepseekV3Config
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2TopkRouter
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3TopkRouter

from divebell.ops import Router, reference
from divebell.ops.batch import Batch
from divebell.weights.formats import F32
from divebell.weights.tensor import Tensor

PAGE = 4


@pytest.fixture
def random():
    return np.random.default_rng(11)


def floats(random, *shape) -> np.ndarray:
    return random.standard_normal(shape).astype(np.float32)


def tensor(values: np.ndarray) -> Tensor:
    return Tensor("t", F32, values.shape, values.reshape(-1).view(np.uint8))


def silu(x):
    return x / (1 + np.exp(-x))


def close(actual, expected, tolerance=1e-5):
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def test_weight_and_embed(random):
    table = floats(random, 5, 8)
    np.testing.assert_array_equal(
        reference.embed(reference.weight(tensor(table)), np.array([4, 0, 4])), table[[4, 0, 4]]
    )


def test_rms_norm(random):
    x, weight = floats(random, 3, 2, 8), floats(random, 8)
    x64 = x.astype(np.float64)
    expected = x64 / np.sqrt((x64**2).mean(-1, keepdims=True) + 1e-6) * weight
    close(reference.rms_norm(x, weight, 1e-6), expected)
    longer = np.concatenate([x, floats(random, 3, 2, 5)], axis=-1)
    close(reference.rms_norm(longer, weight, 1e-6), np.concatenate([expected, longer[..., 8:]], axis=-1))


def test_linears_with_and_without_biases(random):
    x, a, b, bias = floats(random, 4, 6), floats(random, 3, 6), floats(random, 5, 6), floats(random, 5)
    for biases, added in ((None, 0), ([None, bias], bias)):
        first, second = reference.linears(x, [a, b], biases)
        close(first, np.einsum("td,rd->tr", x.astype(np.float64), a))
        close(second, np.einsum("td,rd->tr", x.astype(np.float64), b) + added)


def test_swiglu(random):
    x, gate, up, down = floats(random, 4, 6), floats(random, 9, 6), floats(random, 9, 6), floats(random, 6, 9)
    x64 = x.astype(np.float64)
    close(reference.swiglu(x, gate, up, down), (silu(x64 @ gate.T) * (x64 @ up.T)) @ down.T, 1e-4)


def test_silu_of_very_negative_numbers_is_zero():
    assert reference.swiglu(np.array([[-200.0]], np.float32), *[np.ones((1, 1), np.float32)] * 3)[0, 0] == 0


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotate_is_multiplication_by_complex_numbers(interleaved, random):
    x, angles, positions = floats(random, 3, 2, 10), floats(random, 7, 3), np.array([6, 0, 3], np.int32)
    table = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    tail = x[..., 4:]
    first, second = (tail[..., 0::2], tail[..., 1::2]) if interleaved else (tail[..., :3], tail[..., 3:])
    turned = (first + 1j * second) * np.exp(1j * angles[positions].astype(np.float64))[:, None]
    expected = x.astype(np.float64)
    expected[..., 4:] = (
        np.stack([turned.real, turned.imag], -1).reshape(tail.shape)
        if interleaved
        else np.concatenate([turned.real, turned.imag], -1)
    )
    close(reference.rotate(x, positions, table, interleaved), expected)


def test_moe_adds_up_chosen_and_shared_experts(random):
    stacks = [floats(random, 5, *shape) for shape in ((7, 6), (7, 6), (6, 7))]
    shared = [floats(random, *shape) for shape in ((3, 6), (3, 6), (6, 3))]
    x, ids, weights = floats(random, 4, 6), np.array([[0, 4], [4, 2], [1, 0], [3, 4]], np.int32), floats(random, 4, 2)
    lists = [[tensor(matrix) for matrix in stack] for stack in stacks]
    expected = np.zeros((4, 6))
    for t in range(4):
        for weight, e in zip(weights[t], ids[t], strict=True):
            gate, up, down = (stack[e].astype(np.float64) for stack in stacks)
            expected[t] += weight * (down @ (silu(gate @ x[t]) * (up @ x[t])))
    close(reference.moe(x, ids, weights, reference.experts(*lists)), expected, 1e-4)
    gate, up, down = shared
    expected += (silu(x.astype(np.float64) @ gate.T) * (x @ up.T)) @ down.T
    beside = tuple(tensor(matrix) for matrix in shared)
    close(reference.moe(x, ids, weights, reference.experts(*lists, shared=beside)), expected, 1e-4)


@pytest.mark.parametrize(("groups", "kept"), [(1, 1), (4, 2), (8, 3)])
@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
def test_route_chooses_as_transformers(score, groups, kept, random):
    logits, bias = floats(random, 64, 32), floats(random, 32) * 0.3
    settings = {"num_experts_per_tok": 5, "n_routed_experts": 32, "hidden_size": 32, "n_group": groups}
    settings |= {"topk_group": kept, "routed_scaling_factor": 2.5}
    if score == "sigmoid":
        gate = DeepseekV3TopkRouter(DeepseekV3Config(**settings))
        gate.e_score_correction_bias = torch.tensor(bias)
        router = Router(5, "sigmoid", groups, kept, "top2", True, 2.5)
    else:
        gate = DeepseekV2TopkRouter(DeepseekV2Config(**settings, topk_method="group_limited_greedy"))
        router, bias = Router(5, "softmax", groups, kept, "max", False, 2.5), None
    gate.weight.data = torch.eye(32)
    _, theirs, order = gate(torch.tensor(logits))
    ids, weights = reference.route(logits, bias, router)
    expected = np.zeros((64, 32), np.float32)
    np.put_along_axis(expected, order.numpy(), theirs.detach().numpy(), axis=1)
    actual = np.zeros((64, 32), np.float32)
    np.put_along_axis(actual, ids, weights, axis=1)
    close(actual, expected)


def test_ties_go_to_the_lower_expert():
    ids, _ = reference.route(np.zeros((1, 6), np.float32), None, Router(3))
    assert ids.tolist() == [[0, 1, 2]]


def stepped(random, widths: list[int], dtype) -> tuple[Batch, Batch, list[np.ndarray], int]:
    """Two steps over two sequences (5 then 4 tokens; 2 then 1), and the caches of the given widths, full of NaN."""
    pages = [[5, 0, 3], [1]]
    first = Batch.of([[0] * 5, [0] * 2], [0, 0], [pages[0][:2], pages[1]])
    second = Batch.of([[0] * 4, [0]], [5, 2], pages)
    return first, second, [np.full((6, PAGE, width), np.nan, dtype) for width in widths], 12


def weighted(scores, values):
    p = np.exp(scores - scores.max())
    return (p / p.sum()) @ values


@pytest.mark.parametrize("window", [None, 1, 3])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_attention_sees_its_own_past(window, dtype, random):
    first, second, pages, total = stepped(random, [2 * 6, 2 * 3], dtype)
    q, k, v = floats(random, total, 4, 6), floats(random, total, 2, 6), floats(random, total, 2, 3)
    parts = [
        reference.attention(q[part], k[part], v[part], pages, batch, 0.4, window)
        for part, batch in ((slice(0, 7), first), (slice(7, 12), second))
    ]
    k, v = k.astype(dtype).astype(np.float64), v.astype(dtype).astype(np.float64)
    for rows in ([0, 1, 2, 3, 4, 7, 8, 9, 10], [5, 6, 11]):
        for p, t in enumerate(rows):
            seen = rows[max(0, p + 1 - (window or 99)) : p + 1]
            expected = [weighted(0.4 * k[seen, h // 2] @ q[t, h], v[seen, h // 2]) for h in range(4)]
            close(np.concatenate(parts)[t], np.concatenate(expected))


@pytest.mark.parametrize("split", [False, True])
def test_mla_is_attention_over_expanded_latents(split, random):
    heads, nope, rope, v, rank = 3, 5, 4, 6, 8
    first, second, (pages,), total = stepped(random, [rank + rope], np.float32)
    q, latent = floats(random, total, heads, nope + rope), floats(random, total, rank + rope)
    rows = floats(random, heads, nope + v, rank)
    k_b, v_b = np.ascontiguousarray(rows[:, :nope].transpose(0, 2, 1)), np.ascontiguousarray(rows[:, nope:])
    up = (
        reference.up_projections(k_b=tensor(k_b), v_b=tensor(v_b))
        if split
        else reference.up_projections(kv_b=tensor(rows.reshape(-1, rank)))
    )
    parts = [reference.mla(q[:7], latent[:7], pages, up, first, 0.3)]
    parts.append(reference.mla(q[7:], latent[7:], pages, up, second, 0.3))
    expanded = np.einsum("hnr,tr->thn", rows.astype(np.float64), latent[:, :rank])
    for own in ([0, 1, 2, 3, 4, 7, 8, 9, 10], [5, 6, 11]):
        for p, t in enumerate(own):
            seen, expected = own[: p + 1], []
            for h in range(heads):
                keys = np.concatenate([expanded[seen, h, :nope], latent[seen, rank:]], axis=1)
                expected.append(weighted(0.3 * keys @ q[t, h], expanded[seen, h, nope:]))
            close(np.concatenate(parts)[t], np.concatenate(expected))


finite = st.floats(-80, 80, width=32)


@given(arrays(np.float32, (3, 12), elements=finite), st.sampled_from(["softmax", "sigmoid"]), st.booleans())
def test_route_gives_distinct_experts_of_kept_groups(logits, score, renormalise):
    router = Router(4, score, 4, 2, "max", renormalise, 3.0)
    ids, weights = reference.route(logits, None, router)
    for chosen, share in zip(ids, weights, strict=True):
        assert len(set(chosen.tolist())) == 4
        assert len(set((chosen // 3).tolist())) <= 2
        assert np.isfinite(share).all()
        if renormalise and share.sum() > 0:
            assert share.sum() == pytest.approx(3.0, rel=1e-4) or share.sum() < 3.0

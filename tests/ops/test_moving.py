"""Weights that move into another order once they are read again: results are the bits of those that had moved."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import stored
from batches import DTYPES, latents, paged, same_bits_with_threads
from hypothesis import given, settings
from hypothesis import strategies as st

from divebell import _native
from divebell.ops import native
from divebell.weights.arrangement import FASTER, arranged
from divebell.weights.formats import Q4_0
from divebell.weights.lanes import IN_LANES
from divebell.weights.tensor import Tensor

FORMATS = list(FASTER)
PANEL = 32
read_here = pytest.mark.skipif(not FASTER, reason="these kernels read the order of the file")


def stack(format, matrices, rows, cols, seed=0):
    tensors = [stored.random_tensor(format, rows, cols, seed + i) for i in range(matrices)]
    return Tensor("w", format, (matrices, rows, cols), np.concatenate([tensor.data for tensor in tensors]))


def moving(tensor):
    return arranged(tensor, FASTER[tensor.format], np.zeros(tensor.nbytes, np.uint8))


def settled(tensor):
    moved = moving(tensor)
    moved.moving.settle()
    return moved


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@read_here
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(FORMATS), st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), min_size=1, max_size=6))
def test_products_in_any_order(format, asked):
    tensor = stack(format, 4, 3 * PANEL, 512)
    as_read, before = native.weight(moving(tensor)), native.weight(settled(tensor))
    for matrix, tokens in asked:
        x = numbers(tokens, 512, seed=tokens)
        (found,), (expected,) = native.linears(x, [as_read[matrix]]), native.linears(x, [before[matrix]])
        np.testing.assert_array_equal(found, expected)


@read_here
@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
def test_only_what_is_read_twice_moves(format):
    tensor = stack(format, 3, 2 * PANEL, 256)
    moved, whole = moving(tensor), settled(tensor)
    native.linears(numbers(1, 256), [native.weight(moved)[1]])
    assert not moved.data.any()
    native.linears(numbers(1, 256), [native.weight(moved)[1]])
    first, read, last = moved.split()
    assert not first.data.any()
    assert not last.data.any()
    np.testing.assert_array_equal(read.data, whole[1].data)
    native.embed(native.weight(first), [PANEL])
    np.testing.assert_array_equal(first.data[first.nbytes // 2 :], whole[0].data[first.nbytes // 2 :])
    assert not first.data[: first.nbytes // 2].any()
    moved.moving.settle()
    np.testing.assert_array_equal(moved.data, whole.data)


@read_here
@pytest.mark.parametrize("tokens", [1, 3, 40])
def test_experts(tokens):
    gates, ups, downs = (stack(Q4_0, 8, *shape, seed) for seed, shape in enumerate([(96, 288), (96, 288), (288, 96)]))
    rng = np.random.default_rng(tokens)
    x, weights = numbers(tokens, 288), rng.random((tokens, 3), np.float32)
    ids = np.stack([rng.permutation(8)[:3] for _ in range(tokens)]).astype(np.int32)

    def outputs(move):
        experts = native.experts(*([*move(part).split()] for part in (gates, ups, downs)))
        return native.moe(x, ids, weights, experts)

    np.testing.assert_array_equal(outputs(moving), outputs(settled))
    same_bits_with_threads((1, 2, 4), lambda: outputs(moving))


@read_here
@pytest.mark.parametrize("split", [False, True], ids=["together", "apart"])
@pytest.mark.parametrize("new", [1, 60])
def test_up_projections(new, split):
    """Of a latent to keys and values, absorbed for a few tokens and expanded for many."""
    heads, nope, rope, v, rank = 2, 64, 16, 32, 256
    batch = paged([70], [new])
    q, latent = numbers(new, heads, nope + rope), numbers(new, rank + rope)
    pages = latents(batch, rank, rope, DTYPES[0], np.random.default_rng(0))
    keys, values = stack(Q4_0, heads, rank, nope), stack(Q4_0, heads, v, rank)
    whole = stored.random_tensor(Q4_0, heads * (nope + v), rank)

    def outputs(move):
        up = {"k_b": keys, "v_b": move(values)} if split else {"kv_b": move(whole)}
        return native.mla(q, latent, pages.copy(), native.up_projections(**up), batch, 0.1)

    np.testing.assert_array_equal(outputs(moving), outputs(settled))


@read_here
def test_rows_that_are_decoded():
    tensor = stored.random_tensor(Q4_0, 2 * PANEL, 256)
    np.testing.assert_array_equal(native.decode(native.weight(moving(tensor))), tensor.f32())


@read_here
def test_readers_at_the_same_time():
    tensor, x = stored.random_tensor(Q4_0, 16 * PANEL, 1024), numbers(1, 1024)
    (expected,) = native.linears(x, [native.weight(settled(tensor))])
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            weight = native.weight(moving(tensor))
            found = pool.map(lambda _, weight=weight: native.linears(x, [weight])[0], range(4))
            assert all(np.array_equal(each, expected) for each in found)


@read_here
def test_bytes_that_are_no_rows_of_it_are_refused():
    moved = moving(stored.random_tensor(Q4_0, 2 * PANEL, 256))
    for wrong in (
        replace(moved, data=moved.data.copy()),
        replace(moved[:PANEL], data=moved.data[1 : 1 + moved.nbytes // 2]),
        replace(moved, format=Q4_0),
    ):
        with pytest.raises(ValueError, match="no rows of what moves into this order"):
            native.weight(wrong)


def test_what_is_told_to_settle_is_all_there():
    tensor = stored.random_tensor(Q4_0, 70, 512)
    moved = arranged(tensor, IN_LANES[Q4_0], np.zeros(tensor.nbytes, np.uint8))
    moved.moving.settle()
    moved.moving.settle()
    np.testing.assert_array_equal(moved.f32(), tensor.f32())
    assert isinstance(moved.moving, _native.Moving)

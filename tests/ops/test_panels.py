"""Products of weights in panels, against float64, and the same bits however many tokens there are."""

import numpy as np
import pytest
import stored
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import activations, in_panels

from divebell import _native
from divebell.ops import native
from divebell.weights.formats import Q4_0, Q4_K
from divebell.weights.panels import IN_PANELS, ROWS

FORMATS = list(IN_PANELS)
TOLERANCE = 4e-6  # as in test_linear
read_here = pytest.mark.skipif(not stored.reads_panels, reason="only AVX-512's kernels read this order")
FEW = (_native.tiles_from or 100) - 1  # tokens; more are multiplied in tiles: test_tiles.py


@read_here
@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(FORMATS), st.integers(0, min(40, FEW)), st.integers(1, 4), st.integers(1, 20), st.integers(0, 2**31)
)
def test_any_shape(format, T, panels, blocks, seed):
    tensor = stored.random_tensor(format, panels * ROWS, blocks * format.block, seed)
    x = activations(T, tensor.shape[1], seed)
    (y,) = native.linears(x, [native.weight(in_panels(tensor))])
    assert (np.abs(y - stored.product(x, tensor)) <= TOLERANCE * stored.magnitude(x, tensor) + 1e-12).all()


@read_here
@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
def test_a_token_is_the_same_bits_in_any_company(format):
    for rows, cols in [(64, 544), (96, 1280), (32, 256), (32, 32)]:
        tensor = stored.random_tensor(format, rows, max(cols // format.block, 1) * format.block)
        weight, x = native.weight(in_panels(tensor)), activations(300, tensor.shape[1])
        all_of_them = np.concatenate([native.linears(x[t : t + FEW], [weight])[0] for t in range(0, len(x), FEW)])
        for T in (t for t in (1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 31, 33, 64, 99) if t <= FEW):
            for threads in (1, 2):
                native.set_threads(threads)
                np.testing.assert_array_equal(native.linears(x[:T], [weight])[0], all_of_them[:T])
                np.testing.assert_array_equal(native.linears(x[-T:], [weight])[0], all_of_them[-T:])


@read_here
@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
def test_rows_that_are_looked_up(format):
    tensor = stored.random_tensor(format, 96, 768)
    as_stored, moved = native.weight(tensor), native.weight(in_panels(tensor))
    np.testing.assert_array_equal(native.decode(moved), native.decode(as_stored))
    np.testing.assert_array_equal(native.embed(moved, [3, 19, 90]), native.embed(as_stored, [3, 19, 90]))


@read_here
@pytest.mark.parametrize("T", [1, 3, 20])
def test_experts(T):
    """Against the same experts as they are stored, whose sums are taken in another order."""
    rng, parts = np.random.default_rng(T), [(96, 288), (96, 288), (288, 96)]
    tensors = [[stored.random_tensor(Q4_0, *shape, seed) for seed in range(8)] for shape in parts]
    moved = [[in_panels(tensor) for tensor in part] for part in tensors]
    x = activations(T, 288, T)
    ids = np.stack([rng.permutation(8)[:3] for _ in range(T)]).astype(np.int32)
    weights = rng.random((T, 3), np.float32)
    expected, found = (native.moe(x, ids, weights, native.experts(*each)) for each in (tensors, moved))
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
    alone = [native.moe(x[t : t + 1], ids[t : t + 1], weights[t : t + 1], native.experts(*moved)) for t in range(T)]
    np.testing.assert_array_equal(found, np.concatenate(alone))


def test_rows_that_are_no_whole_panel_are_refused():
    tensor = stored.random_tensor(Q4_K, 32, 256)
    with pytest.raises(ValueError, match="format number 1010"):
        _native.Weight(1010, tensor.data[: 31 * 144], 31, 256)


@pytest.mark.skipif(stored.reads_panels, reason="AVX-512's kernels read this order")
def test_other_kernels_refuse_it():
    with pytest.raises(ValueError, match="only AVX-512 reads format number 1007"):
        native.weight(in_panels(stored.random_tensor(Q4_0, 32, 64)))

"""Many tokens by weights in panels, in tiles of bfloat16: against float64, and the same bits beside any others."""

import numpy as np
import pytest
import stored
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import activations, in_panels

from divebell import _native
from divebell.ops import native
from divebell.weights.formats import Q4_0, Q4_K, Q8_0
from divebell.weights.panels import IN_PANELS, ROWS

FROM = _native.tiles_from
pytestmark = pytest.mark.skipif(not FROM, reason="this processor has no tiles")


def near(found, x, tensor):
    """Both factors of each term are rounded to 8 bits; those errors are as often up as down."""
    exact = x.astype(np.float64) @ tensor.f32().T.astype(np.float64)
    assert (np.abs(found - exact) <= 1.01 * 2**-8 * stored.magnitude(x, tensor) + 1e-12).all()
    assert np.sqrt(((found - exact) ** 2).mean()) <= 0.004 * np.sqrt((exact**2).mean())


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(list(IN_PANELS)),
    st.integers(FROM or 1, 560),
    st.integers(1, 4),
    st.integers(1, 20),
    st.integers(0, 2**31),
)
def test_any_shape(format, T, panels, blocks, seed):
    tensor = stored.random_tensor(format, panels * ROWS, blocks * format.block, seed)
    x = activations(T, tensor.shape[1], seed)
    near(native.linears(x, [native.weight(in_panels(tensor))])[0], x, tensor)


@pytest.mark.parametrize("format", list(IN_PANELS), ids=lambda f: f.name)
def test_a_token_is_the_same_bits_in_any_company_of_as_many(format):
    tensor = stored.random_tensor(format, 96, 1280)
    weight, x = native.weight(in_panels(tensor)), activations(700, 1280)
    (all_of_them,) = native.linears(x, [weight])
    for T in (FROM, FROM + 1, 47, 48, 63, 129, 513):
        for threads in (1, 2):
            native.set_threads(threads)
            np.testing.assert_array_equal(native.linears(x[:T], [weight])[0], all_of_them[:T])
            np.testing.assert_array_equal(native.linears(x[-T:], [weight])[0], all_of_them[-T:])


def test_beside_matrices_that_are_not_multiplied_in_tiles():
    """One in the file's order, whose rows are no whole panels, takes the same activations as int8."""
    tensors = [stored.random_tensor(Q4_0, 64, 512), stored.random_tensor(Q8_0, 40, 512)]
    x, bias = activations(100, 512), activations(1, 64)[0]
    in_tiles, as_bytes = native.linears(
        x, [native.weight(in_panels(tensors[0])), native.weight(tensors[1])], [bias, None]
    )
    near(in_tiles - bias, x, tensors[0])
    assert (np.abs(as_bytes - stored.product(x, tensors[1])) <= 4e-6 * stored.magnitude(x, tensors[1])).all()


def test_what_is_no_number_stays_in_its_row():
    tensor = stored.random_tensor(Q4_K, 64, 512)
    x = activations(90, 512)
    x[17, 3], x[85, 400] = np.nan, np.inf
    (found,) = native.linears(x, [native.weight(in_panels(tensor))])
    bad = np.zeros(90, bool)
    bad[[17, 85]] = True
    assert not np.isfinite(found[bad]).any()
    near(found[~bad], x[~bad], tensor)


@pytest.mark.parametrize("down", [Q4_0, Q8_0], ids=lambda f: f.name)
def test_experts(down):
    """Of 300 tokens four experts have many, in tiles, and four have few; all near the same experts in float64."""
    rng, shapes = np.random.default_rng(0), [(Q4_0, 96, 288), (Q4_0, 96, 288), (down, 288, 96)]
    tensors = [[stored.random_tensor(format, *shape, seed) for seed in range(8)] for format, *shape in shapes]
    x, T = activations(300, 288), 300
    ids = rng.integers(0, 4, (T, 1)).astype(np.int32)
    second = 4 + rng.integers(0, 4, (T, 1)).astype(np.int32)
    ids = np.concatenate([ids, np.where(np.arange(T)[:, None] < 60, second, (ids + 1) % 4)], axis=1).astype(np.int32)
    weights = rng.random((T, 2), np.float32)
    found = native.moe(x, ids, weights, native.experts(*[[in_panels(tensor) for tensor in part] for part in tensors]))
    gate, up, out = ([tensor.f32().astype(np.float64) for tensor in part] for part in tensors)
    expected = np.zeros((T, 288))
    for t in range(T):
        for e, weight in zip(ids[t], weights[t], strict=True):
            g = gate[e] @ x[t]
            expected[t] += weight * (out[e] @ (g / (1 + np.exp(-g)) * (up[e] @ x[t])))
    counts = np.bincount(ids.reshape(-1), minlength=8)
    assert (counts[:4] >= FROM).all()
    assert (counts[4:] < FROM).all()
    assert np.abs(found - expected).max() <= 0.02 * np.abs(expected).max()

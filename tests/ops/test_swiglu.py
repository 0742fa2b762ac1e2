"""swiglu against float64, with x and the hidden row rounded to int8 where the formats do so."""

import numpy as np
import pytest
import stored
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import PAIRS, close, exact, net

from divebell.ops import native
from divebell.weights.formats import BY_NAME


def run(x: np.ndarray, tensors) -> np.ndarray:
    return native.swiglu(x, *[native.weight(t) for t in tensors])


@pytest.mark.parametrize("T", [1, 2, 5, 40])
@pytest.mark.parametrize(("gate", "down"), PAIRS)
def test_formats(gate, down, T):
    tensors = net(gate, down, 256, 768)
    x = np.random.default_rng(T).standard_normal((T, 256)).astype(np.float32)
    close(run(x, tensors), exact(x, *tensors))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([("F32", "F32"), ("Q4_0", "Q8_0")]), st.integers(0, 20), st.integers(1, 9), st.integers(1, 9))
def test_any_shape(formats, T, d, width):
    unit = 32 if formats[0] == "Q4_0" else 7
    tensors = net(*formats, d * unit, width * unit, d)
    x = np.random.default_rng(T).standard_normal((T, d * unit)).astype(np.float32)
    y = run(x, tensors)
    assert y.shape == x.shape
    if T:
        close(y, exact(x, *tensors))


def test_far_out_gates():
    """exp overflows in neither direction."""
    eye = np.eye(32, dtype=np.float32)
    gate = stored.Tensor("g", BY_NAME["F32"], (32, 32), (eye * 1000).view(np.uint8).reshape(-1))
    one = stored.Tensor("o", BY_NAME["F32"], (32, 32), eye.view(np.uint8).reshape(-1))
    x = np.linspace(-1, 1, 32, dtype=np.float32)[None]
    expected = np.where(x > 0, 1000.0 * x * x, 0)
    np.testing.assert_allclose(run(x, [gate, one, one]), expected, rtol=1e-5, atol=1e-6)


def test_same_bits_with_any_number_of_threads():
    before, tensors, results = native.threads(), net("Q4_K", "Q6_K", 512, 768), []
    x = np.random.default_rng(0).standard_normal((9, 512)).astype(np.float32)
    for threads in (1, 2, 3):
        native.set_threads(threads)
        results.append(run(x, tensors))
    native.set_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_shapes_that_do_not_fit_are_refused():
    gate, up, _ = net("F32", "F32", 64, 96)
    with pytest.raises(ValueError, match=r"do not fit a width of 64"):
        run(np.zeros((1, 64), np.float32), [gate, up, gate])

import numpy as np
import pytest

from divebell import _native
from divebell.ops import native, reference


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("normed", [1, 7, 24, 40])
@pytest.mark.parametrize("shape", [(1, 40), (3, 40), (2, 5, 40), (70, 40)])
def test_norm_of_the_first_numbers(shape, normed):
    x, weight = floats(*shape), floats(normed)
    np.testing.assert_allclose(
        native.rms_norm(x, weight, 1e-6), reference.rms_norm(x, weight, 1e-6), rtol=2e-6, atol=1e-6
    )
    np.testing.assert_array_equal(native.rms_norm(x, weight, 1e-6)[..., normed:], x[..., normed:])


@pytest.mark.parametrize("shape", [(1, 3), (2, 5, 40), (300, 1000)])
def test_sum(shape):
    x, y = floats(*shape), floats(*shape)[::-1].copy()
    np.testing.assert_array_equal(native.add(x, y), x + y)


@pytest.mark.parametrize("shape", [(1, 3), (5, 40), (300, 1000)])
def test_gate(shape):
    gate, up = 4 * floats(*shape), floats(*shape)
    np.testing.assert_allclose(native.gated(gate, up), reference.gated(gate, up), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", ["add", "gated"])
def test_shapes_that_differ_are_refused(op):
    with pytest.raises(ValueError, match=f"{op}: .* differ in shape"):
        getattr(_native, op)(floats(2, 3), floats(2, 4), floats(2, 3))


@pytest.mark.parametrize("count", [0, 41])
def test_a_weight_of_another_length_is_refused(count):
    with pytest.raises(ValueError, match="rms_norm: x, weight and y differ in shape"):
        native.rms_norm(floats(2, 40), floats(count), 1e-6)

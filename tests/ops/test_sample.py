"""What the sampler asks of logits, against the reference: maxima and ids to the bit, sums to float32 rounding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from divebell.ops import BLOCK, native, reference

LENGTHS = [1, 3, 15, 16, 17, 255, 256, 257, 500, 16384, 16385, 49_152, 150_001]
odd = st.sampled_from([np.nan, -np.inf, np.inf, 0.0, -0.0, 1e-45, -3e38, 3e38])
few = st.integers(-3, 3).map(float)
rows = st.sampled_from([few, st.floats(-50, 50, width=32), odd | few]).flatmap(
    lambda numbers: arrays(np.float32, st.integers(1, 2 * BLOCK + 40), elements=numbers)
)


def logits(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape[-1]).standard_normal(shape, np.float32) * np.float32(8)


def close(found: tuple, expected: tuple) -> None:
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], rtol=3e-6)


@pytest.mark.parametrize("n", LENGTHS)
def test_any_length(n):
    x = logits(n)
    maxima = native.block_maxima(x)
    np.testing.assert_array_equal(maxima, reference.block_maxima(x))
    close(native.block_sums(x, 0.7), reference.block_sums(x, 0.7))
    for threshold in (np.inf, x.max(), np.median(x), -np.inf):
        np.testing.assert_array_equal(
            native.at_least(x, maxima, threshold), reference.at_least(x, maxima, threshold), strict=True
        )


@pytest.mark.parametrize("shape", [(0, 300), (1, 300), (7, 300), (2, 3, 513), (3, 40_000)])
def test_the_last_axis_is_the_one_in_blocks(shape):
    x = logits(*shape)
    np.testing.assert_array_equal(native.block_maxima(x), reference.block_maxima(x), strict=True)
    close(native.block_sums(x), reference.block_sums(x))


@settings(max_examples=100, deadline=None)
@given(rows, st.floats(1e-6, 100), st.data())
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")
def test_ties_and_what_is_not_a_number(x, temperature, data):
    maxima, threshold = native.block_maxima(x), data.draw(st.sampled_from(x) | st.floats(-60, 60, width=32))
    np.testing.assert_array_equal(maxima, reference.block_maxima(x))
    np.testing.assert_array_equal(native.at_least(x, maxima, threshold), reference.at_least(x, maxima, threshold))
    ties = np.where(x == maxima[np.arange(len(x)) // BLOCK], x, -np.inf).astype(np.float32)
    close(native.block_sums(ties, temperature), reference.block_sums(ties, temperature))


@pytest.mark.parametrize("place", [0, 5, 255, 256, 299])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_number_spoils_its_block_alone(value, place):
    x = logits(300)
    x[place] = value
    maxima, sums = native.block_sums(x)
    np.testing.assert_array_equal(np.isfinite(maxima), np.arange(2) != place // BLOCK)
    np.testing.assert_array_equal(np.isnan(sums), np.arange(2) == place // BLOCK)


def test_a_block_of_nothing_sums_to_nothing():
    maxima, sums = native.block_sums(np.full(700, -np.inf, np.float32))
    assert (maxima == -np.inf).all()
    assert (sums == 0).all()


@settings(max_examples=100, deadline=None)
@given(arrays(np.float32, st.integers(1, 600), elements=st.floats(-90, 90, width=32)), st.floats(0.05, 50))
def test_sums_against_float64(x, temperature):
    maxima, sums = native.block_sums(x, temperature)
    for block, (most, total) in enumerate(zip(maxima, sums, strict=True)):
        part = x[block * BLOCK :][:BLOCK].astype(np.float64)
        assert total == pytest.approx(np.exp((part - most) / temperature).sum(), rel=1e-5)


def test_same_bits_with_any_number_of_threads():
    before, x, results = native.threads(), logits(3, 70_001), []
    for threads in (1, 2, 3):
        native.set_threads(threads)
        results.append((native.block_maxima(x), *native.block_sums(x, 0.8)))
    native.set_threads(before)
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_maxima_of_another_row_are_refused():
    with pytest.raises(ValueError, match="these are not the maxima of a row of 300"):
        native.at_least(np.zeros(300, np.float32), np.zeros(3, np.float32), 0.0)

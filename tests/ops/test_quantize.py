"""Numbers into D4 and D8: what the search for scales must reach, and what it must leave alone."""

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from divebell import _native
from divebell.weights.formats import D4, D8, OWN, Q4_0, Q8_0, Format


def quantized(format: Format, x: np.ndarray, importance: np.ndarray | None = None) -> np.ndarray:
    out = np.empty((len(x), format.nbytes(x.shape[1:])), np.uint8)
    assert _native.quantize(format.number, x, importance, out) == -1
    return out


def restored(format: Format, x: np.ndarray, importance: np.ndarray | None = None) -> np.ndarray:
    return format.decode(quantized(format, x, importance).reshape(-1), x.shape[1]).reshape(x.shape)


def normal(rows: int, cols: int, seed: int = 0, spread: float = 0.02) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, (rows, cols)).astype(np.float32)


def error(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.sqrt(np.mean((x - y) ** 2) / np.mean(x**2)))


@pytest.mark.parametrize(("own", "ggml"), [(D4, Q4_0), (D8, Q8_0)], ids=["D4", "D8"])
@pytest.mark.parametrize("spread", [1e-6, 0.02, 100])
def test_fewer_bytes_and_less_error_than_ggmls(own, ggml, spread):
    x = normal(100, 512, spread=spread)
    theirs = gguf.quants.dequantize(gguf.quants.quantize(x, ggml.number), ggml.number)
    assert own.bits < ggml.bits
    assert error(x, restored(own, x)) < 0.92 * error(x, theirs)


@pytest.mark.parametrize("format", OWN, ids=lambda f: f.name)
def test_columns_that_matter_more_are_nearer(format):
    x, importance = normal(200, 256), np.ones(256, np.float32)
    importance[::8] = 100
    plain, weighed = restored(format, x), restored(format, x, importance)
    assert error(x[:, ::8], weighed[:, ::8]) < 0.9 * error(x[:, ::8], plain[:, ::8])


@pytest.mark.parametrize("format", OWN, ids=lambda f: f.name)
@pytest.mark.parametrize("cols", [32, 96, 256, 288, 544])
def test_a_chunk_does_not_depend_on_what_is_beside_it(format, cols):
    wide = normal(4, 544)
    whole = cols // 256 * 256 or cols
    row_bytes = format.nbytes((whole,))
    np.testing.assert_array_equal(
        quantized(format, np.ascontiguousarray(wide[:, :cols]))[:, :row_bytes],
        quantized(format, np.ascontiguousarray(wide[:, :whole]))[:, :row_bytes],
    )


@pytest.mark.parametrize("format", OWN, ids=lambda f: f.name)
def test_zeros_and_numbers_below_any_scale_stay_zero(format):
    x = np.zeros((3, 288), np.float32)
    x[1] = 1e-30
    assert not restored(format, x).any()
    x[2, :32] = 1.0
    assert not restored(format, x)[2, 32:].any()


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(OWN), hnp.arrays(np.float32, (2, 96), elements=st.floats(-30000, 30000, width=32)))
def test_any_numbers_come_back_within_a_step(format, x):
    """D4's widest gap is 24 of 127, and scales have 127 steps from the largest on down; D8 has 254 levels."""
    largest = np.abs(x.reshape(2, 3, 32)).max(axis=2, keepdims=True)
    chunk = np.abs(x).max(axis=1)[:, None, None]
    allowed = largest * (0.2 if format is D4 else 0.006) + chunk * (0.01 if format is D4 else 0.005) + 1e-6
    assert (np.abs(restored(format, x) - x).reshape(2, 3, 32) <= allowed).all()


@pytest.mark.parametrize("format", OWN, ids=lambda f: f.name)
def test_the_row_that_does_not_fit_is_told(format):
    x = normal(5, 64)
    x[3, 9] = 3e38
    assert _native.quantize(format.number, x, None, np.empty((5, format.nbytes((64,))), np.uint8)) == 3


@pytest.mark.parametrize(
    ("number", "x", "importance", "out", "says"),
    [
        (2, (1, 32), None, (1, 18), "number 2"),
        (1001, (1, 48), None, (1, 27), "48 columns"),
        (1001, (1, 0), None, (1, 0), "0 columns"),
        (1001, (2, 32), None, (1, 19), "out differs"),
        (1002, (1, 32), None, (1, 34), "out differs"),
        (1001, (1, 64), 32, (1, 36), "importance differs"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(number, x, importance, out, says):
    weights = importance and np.ones(importance, np.float32)
    with pytest.raises(ValueError, match=says):
        _native.quantize(number, np.zeros(x, np.float32), weights, np.zeros(out, np.uint8))

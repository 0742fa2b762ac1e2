"""linears against float64: with the same int8 rounding of x, only float32 sums are left as a difference."""

import os
import subprocess
import sys

import numpy as np
import pytest
import stored
from hypothesis import given, settings
from hypothesis import strategies as st

from divebell import _native
from divebell.ops import native, reference
from divebell.weights.formats import BY_NAME, D4, D8, F8_E4M3, F32, FORMATS, OWN, Q4_0, Q4_K, Q8_0

# Of a product's sum of absolute terms: int8 formats whose bytes are stored with an offset cancel sums up to 128 times
# larger at the end of a row, all others less.
TOLERANCE = 4e-6


def close(y: np.ndarray, x: np.ndarray, tensor) -> None:
    allowed = TOLERANCE * stored.magnitude(x, tensor) + 1e-12
    assert (np.abs(y - stored.product(x, tensor)) <= allowed).all()


def activations(T: int, cols: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((T, cols)).astype(np.float32)


ALL = (*FORMATS, *OWN)


@pytest.fixture(autouse=True)
def _restore_threads():
    before = native.threads()
    yield
    native.set_threads(before)


@pytest.mark.parametrize("format", ALL, ids=lambda f: f.name)
@pytest.mark.parametrize("T", [1, 2, 3, 4, 5, 6, 7, 8, 33])
def test_every_format_and_every_path(format, T):
    for rows, cols in [(33, 512), (5, 256), (70, 1280)]:
        tensor, x = stored.random_tensor(format, rows, cols), activations(T, cols)
        (y,) = native.linears(x, [native.weight(tensor)])
        close(y, x, tensor)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(ALL),
    st.integers(0, 40),
    st.integers(1, 100),
    st.integers(1, 12),
    st.integers(0, 2**31),
    st.data(),
)
def test_any_shape(format, T, rows, blocks, seed, data):
    cols = data.draw(st.integers(1, 300)) if format.block == 1 else blocks * format.block
    tensor, x = stored.random_tensor(format, rows, cols, seed), activations(T, cols, seed)
    (y,) = native.linears(x, [native.weight(tensor)])
    assert y.shape == (T, rows)
    close(y, x, tensor)


@pytest.mark.parametrize("format", ALL, ids=lambda f: f.name)
def test_rounding_x_to_int8_costs_about_a_hundredth(format):
    tensor, x = stored.random_tensor(format, 256, 1024), activations(8, 1024)
    (y,), (exact,) = native.linears(x, [native.weight(tensor)]), reference.linears(x, [reference.weight(tensor)])
    assert np.sqrt(np.mean((y - exact) ** 2)) <= 0.015 * exact.std()


@pytest.mark.parametrize("T", [1, 4, 20, 1100])
@pytest.mark.parametrize("format", [F32, F8_E4M3, Q4_0, Q4_K, Q8_0, D4, D8], ids=lambda f: f.name)
def test_same_bits_with_any_number_of_threads(format, T):
    tensors = [stored.random_tensor(format, rows, 512, rows) for rows in (300, 33)]
    weights, x, results = [native.weight(t) for t in tensors], activations(T, 512), []
    for threads in (1, 2, 3):
        native.set_threads(threads)
        results.append(native.linears(x, weights))
    for one, other in zip(results[0] * 2, results[1] + results[2], strict=True):
        np.testing.assert_array_equal(one, other)


@stored.same_in_company
@pytest.mark.parametrize("format", ALL, ids=lambda f: f.name)
def test_a_token_is_the_same_bits_in_any_company(format):
    for rows, cols in [(37, 544), (70, 1280), (5, 256), (37, 576), (33, 352), (3, 640)]:
        cols = (cols + 5) if format.block == 1 else cols // format.block * format.block
        weight, x = native.weight(stored.random_tensor(format, rows, cols)), activations(300, cols)
        (all_of_them,) = native.linears(x, [weight])
        for T in (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 64, 129):
            for threads in (1, 2):
                native.set_threads(threads)
                np.testing.assert_array_equal(native.linears(x[:T], [weight])[0], all_of_them[:T])
                np.testing.assert_array_equal(native.linears(x[-T:], [weight])[0], all_of_them[-T:])


@pytest.mark.parametrize("format", [F32, Q4_0, Q4_K, D4, D8], ids=lambda f: f.name)
def test_a_row_does_not_depend_on_its_company(format):
    """Bit for bit among few rows, and among many, with every instruction set."""
    weight, x = native.weight(stored.random_tensor(format, 100, 512)), activations(64, 512)
    (many,) = native.linears(x, [weight])
    np.testing.assert_array_equal(native.linears(x[7:40], [weight])[0], many[7:40])
    (one,) = native.linears(x[:1], [weight])
    np.testing.assert_array_equal(native.linears(x[:3], [weight])[0][:1], one)
    np.testing.assert_allclose(one, many[:1], atol=1e-5 * np.abs(many).max())


def test_biases_and_several_weights():
    tensors = [stored.random_tensor(BY_NAME[name], 40, 256, 3) for name in ("F32", "Q4_K", "Q6_K")]
    bias, x = np.arange(40, dtype=np.float32), activations(3, 256)
    weights = [native.weight(t) for t in tensors]
    with_bias, plain = native.linears(x, weights, [None, bias, bias]), native.linears(x, weights)
    np.testing.assert_array_equal(with_bias[0], plain[0])
    np.testing.assert_array_equal(with_bias[2], plain[2] + bias)


def test_fp8_slice_keeps_its_place_among_the_scales():
    tensor, x = stored.random_tensor(F8_E4M3, 400, 300), activations(9, 300)
    part = tensor[100:330]
    (y,) = native.linears(x, [native.weight(part)])
    np.testing.assert_allclose(y, x.astype(np.float64) @ tensor.f32()[100:330].T, atol=1e-5)


@pytest.mark.parametrize("T", [1, 9])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_a_value_that_is_not_finite_shows_in_its_row_only(value, T):
    tensor, x = stored.random_tensor(Q4_0, 40, 256), activations(T, 256)
    x[0, 5] = value
    (y,) = native.linears(x, [native.weight(tensor)])
    assert (value == 3e38) or not np.isfinite(y[0]).any()
    assert np.isfinite(y[1:]).all()


def test_tiny_and_zero_activations_are_zero():
    x = np.zeros((2, 256), np.float32)
    x[1] = 1e-42
    assert not native.linears(x, [native.weight(stored.random_tensor(Q8_0, 8, 256))])[0].any()


def test_blocks_that_are_not_aligned():
    tensor = stored.random_tensor(Q4_K, 9, 512)
    room = np.zeros(tensor.nbytes + 1, np.uint8)
    room[1:] = tensor.data
    moved = native._native.Weight(tensor.format.number, room[1:], 9, 512)
    x = activations(2, 512)
    np.testing.assert_array_equal(native.linears(x, [moved])[0], native.linears(x, [native.weight(tensor)])[0])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((2, np.zeros(18, np.uint8), 1, 33), "blocks of 32"),
        ((2, np.zeros(17, np.uint8), 1, 32), "17 bytes given"),
        ((2, np.zeros(18, np.uint8), 2**40, 2**40), "are not the"),
        ((2, np.zeros(18, np.uint8), -1, 32), "-1 rows"),
        ((99, np.zeros(18, np.uint8), 1, 32), "99 is not known"),
        ((1000, np.zeros(300, np.uint8), 1, 300, np.ones((1, 2), np.float32)), "do not cover"),
        ((1000, np.zeros(300, np.uint8), 1, 300, np.ones((1, 3), np.float32), 128), "do not cover"),
        ((0, np.zeros(4, np.uint8), 1, 1, np.ones((1, 1), np.float32)), "only F8_E4M3"),
    ],
)
def test_a_weight_that_contradicts_itself_is_refused(arguments, problem):
    with pytest.raises(ValueError, match=problem):
        _native.Weight(*arguments)


def test_shapes_that_do_not_fit_are_refused():
    weight = native.weight(stored.random_tensor(F32, 4, 8))
    with pytest.raises(ValueError, match="9 columns, the weight 8"):
        native.linears(activations(1, 9), [weight])
    with pytest.raises(ValueError, match="bias"):
        native.linears(activations(1, 8), [weight], [np.zeros(3, np.float32)])


_ALL = """
import sys, numpy as np
sys.path.insert(0, {folder!r})
import stored
from divebell.ops import native
from divebell.weights.formats import FORMATS, OWN
out = {{}}
for f in (*FORMATS, *OWN):
    w = native.weight(stored.random_tensor(f, 70, 768))
    for T in (1, 3, 40):
        x = np.random.default_rng(T).standard_normal((T, 768)).astype(np.float32)
        out[f"{{f.name}} {{T}}"] = native.linears(x, [w])[0]
np.savez({file!r}, **out)
"""


VECTORS = {
    "amx": ["avx2", "avx512", "amx"],
    "avx512": ["avx2", "avx512"],
    "avx2": ["avx2"],
    "neon": ["neon"],
    "scalar": [],
}


@pytest.mark.parametrize("isa", VECTORS[_native.isa])
def test_instruction_sets_agree_with_the_scalar_kernels(isa, tmp_path):
    results = []
    for name in ("scalar", isa):
        file = str(tmp_path / f"{name}.npz")
        script = _ALL.format(folder=os.path.dirname(stored.__file__), file=file)
        subprocess.run([sys.executable, "-c", script], check=True, env=os.environ | {"DIVEBELL_ISA": name})
        results.append(np.load(file))
    for key in results[0]:
        difference = np.abs(results[0][key] - results[1][key]).max()
        assert difference <= 2e-5 * np.abs(results[0][key]).max(), key

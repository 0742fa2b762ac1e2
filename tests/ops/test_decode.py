"""Native decoding, bit for bit, against the gguf package and the float types' own definitions."""

import gguf
import ml_dtypes
import numpy as np
import pytest
import stored

from divebell.ops import native
from divebell.weights.formats import BF16, F8_E4M3, F16, FORMATS, OWN
from divebell.weights.tensor import Tensor

BLOCKS = [f for f in FORMATS if f.block > 1]


def bits(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x, np.float32).view(np.uint32)


@pytest.mark.parametrize("format", BLOCKS, ids=lambda f: f.name)
@pytest.mark.parametrize("cols", [256, 768, 1024])
def test_block_formats(format, cols):
    tensor = stored.random_tensor(format, 37, cols)
    expected = gguf.quants.dequantize(tensor.data.reshape(37, -1), gguf.GGMLQuantizationType(format.number))
    np.testing.assert_array_equal(bits(native.decode(native.weight(tensor))), bits(expected.reshape(37, cols)))


@pytest.mark.parametrize("format", [f for f in BLOCKS if f.block == 32], ids=lambda f: f.name)
@pytest.mark.parametrize("blocks", [1, 3, 9])
def test_a_last_chunk_that_is_not_whole(format, blocks):
    tensor = stored.random_tensor(format, 5, 32 * blocks)
    expected = gguf.quants.dequantize(tensor.data.reshape(5, -1), gguf.GGMLQuantizationType(format.number))
    np.testing.assert_array_equal(bits(native.decode(native.weight(tensor))), bits(expected.reshape(5, -1)))


@pytest.mark.parametrize(
    ("format", "dtype", "codes"),
    [(F16, np.float16, 1 << 16), (BF16, ml_dtypes.bfloat16, 1 << 16), (F8_E4M3, ml_dtypes.float8_e4m3fn, 1 << 8)],
    ids=lambda v: getattr(v, "name", ""),
)
@pytest.mark.parametrize("cols", [1, 256])
def test_every_code_of_the_float_formats(format, dtype, codes, cols):
    data = np.arange(codes, dtype=np.uint16 if codes > 256 else np.uint8)
    expected = data.view(dtype).astype(np.float32).reshape(-1, cols)
    got = native.decode(native.weight(Tensor("w", format, expected.shape, data.view(np.uint8))))
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(bits(got)[numbers], bits(expected)[numbers])
    assert np.isnan(got[~numbers]).all()


def test_fp8_scales():
    tensor = stored.random_tensor(F8_E4M3, 300, 200)
    np.testing.assert_array_equal(bits(native.decode(native.weight(tensor))), bits(tensor.f32()))


@pytest.mark.parametrize("format", OWN, ids=lambda f: f.name)
@pytest.mark.parametrize("cols", [32, 224, 256, 288, 576, 1536])
def test_own_formats(format, cols):
    tensor = stored.random_tensor(format, 37, cols)
    np.testing.assert_array_equal(bits(native.decode(native.weight(tensor))), bits(tensor.f32()))


@pytest.mark.parametrize("format", OWN, ids=lambda f: f.name)
@pytest.mark.parametrize("half", [np.inf, -np.inf, np.nan, -0.0, 65504, 6e-8])
def test_own_formats_with_any_half(format, half):
    tensor = stored.random_tensor(format, 3, 256)
    tensor.data.reshape(3, -1)[:, -10:-8] = np.array([half], np.float16).view(np.uint8)
    got, expected = native.decode(native.weight(tensor)), tensor.f32()
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(bits(got)[numbers], bits(expected)[numbers])
    assert np.isnan(got[~numbers]).all()

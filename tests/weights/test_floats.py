"""Numbers packed for files, against ml_dtypes."""

import ml_dtypes
import numpy as np
import pytest

from divebell.weights.floats import packed, packed_f8
from divebell.weights.formats import BF16, F8_E4M3, F16, F32
from divebell.weights.tensor import Tensor


def numbers(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Of magnitudes that differ from row to row."""
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, columns)).astype(np.float32) * np.exp2(random.integers(-9, 9, (rows, 1))).astype(
        np.float32
    )


@pytest.mark.parametrize(("format", "dtype"), [(F32, np.float32), (F16, np.float16), (BF16, ml_dtypes.bfloat16)])
def test_each_number_is_the_nearest(format, dtype):
    bits = np.random.default_rng(1).integers(0, 1 << 32, 100_000, np.uint32)
    given = np.concatenate([bits.view(np.float32), np.float32([0, -0.0, np.inf, -np.inf, 1e9, 3e38])])
    given = given[~np.isnan(given)]
    with np.errstate(all="ignore"):
        expected = given.astype(dtype)
    assert np.array_equal(packed(given, format), expected.view(np.uint8))


@pytest.mark.parametrize("powers", [False, True])
@pytest.mark.parametrize("shape", [(300, 200), (128, 256), (5, 7)])
def test_fp8_by_tiles_is_fp8_of_the_whole(shape, powers):
    matrix = numbers(*shape)
    whole = list(packed_f8([matrix], powers))
    tiles = list(packed_f8((matrix[begin : begin + 128] for begin in range(0, len(matrix), 128)), powers))
    assert np.array_equal(np.concatenate(whole), np.concatenate(tiles))
    data, scales = whole
    blocks = [-(-size // 128) for size in shape]
    tensor = Tensor("w", F8_E4M3, shape, data, scales.view(np.float32).reshape(blocks))
    each = tensor.scales.repeat(128, 0).repeat(128, 1)[: shape[0], : shape[1]]
    assert (np.abs(tensor.f32() - matrix) <= np.maximum(np.abs(matrix) / 16, each / 1024) * 1.001).all()


def test_a_block_of_zeros_stays_so():
    data, scales = packed_f8([np.zeros((4, 4), np.float32)])
    assert not data.any()
    assert scales.view(np.float32).tolist() == [1.0]

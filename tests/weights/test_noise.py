"""Random blocks against the gguf package's reading of them."""

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from ml_dtypes import bfloat16, float8_e4m3fn

from divebell.weights.formats import BF16, F8_E4M3, FORMATS, Q8_0, Format
from divebell.weights.noise import F8_STD, noise

COUNT, STD = 1 << 18, 0.02


def generator(seed: int = 1) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(seed))


def read(format: Format, data: np.ndarray) -> np.ndarray:
    if format in (F8_E4M3, BF16):
        return data.view(float8_e4m3fn if format == F8_E4M3 else bfloat16).astype(np.float32)
    return dequantize(data, GGMLQuantizationType(format.number))


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
def test_mean_and_deviation_are_as_wanted(format):
    numbers = read(format, noise(format, COUNT, STD, generator()))
    wanted = F8_STD if format == F8_E4M3 else STD
    assert numbers.shape == (COUNT,)
    assert np.isfinite(numbers).all()
    assert abs(numbers.mean()) < wanted / 50
    assert numbers.std() == pytest.approx(wanted, rel=0.42 if format.name == "MXFP4" else 0.03)


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
def test_the_size_is_the_formats(format):
    assert noise(format, 512, STD, generator()).nbytes == format.nbytes((512,))


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
def test_blocks_differ_from_one_another(format):
    blocks = noise(format, 64 * format.block, STD, generator()).reshape(64, format.block_bytes)
    assert len(np.unique(blocks, axis=0)) > 32


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    first, again, other = (noise(Q8_0, 4096, STD, generator(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_norm_weights_lie_around_their_mean():
    numbers = noise(BF16, COUNT, 0.05, generator(), mean=1.0).view(bfloat16).astype(np.float32)
    assert numbers.mean() == pytest.approx(1, abs=0.01)


def test_q8_0_never_holds_minus_128():
    levels = noise(Q8_0, COUNT, STD, generator()).reshape(-1, 34)[:, 2:].view(np.int8)
    assert levels.min() == -127

"""Random numbers in stored blocks, made without quantizing anything; every one is a block that a file may hold.

A block starts as random bytes; what must not be random (its scales) is then set so that the dequantized numbers have
mean 0 and the wanted deviation. Layouts: ggml-common.h, as in `formats`.
"""

from collections.abc import Callable
from functools import cache
from statistics import NormalDist

import numpy as np
from ml_dtypes import bfloat16, float8_e4m3fn

from divebell.weights.formats import Format

Blocks = np.ndarray
"""uint8 (n, block bytes)"""


def noise(format: Format, count: int, std: float, generator: np.random.Generator, mean: float = 0.0) -> np.ndarray:
    """`count` numbers in their blocks: uint8 (count / format.block * format.block_bytes,).

    Quantized numbers are uniform over a block's levels, others normal. `mean` is for F32, F16 and BF16 alone. F8_E4M3
    leaves `std` to the scales that go with it: its numbers have the deviation F8_STD.
    """
    if format.name in _QUANTIZED:
        blocks = _random_bytes(generator, (count // format.block, format.block_bytes))
        _QUANTIZED[format.name](blocks, std)
        return blocks.reshape(-1)
    table = _normal_values(format.name, std, mean)
    return table[_random_bytes(generator, (count, 2)).view(np.uint16).reshape(-1)].view(np.uint8)


F8_STD = 100.0  # four deviations stay under E4M3's largest number, 448


def _random_bytes(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    count = shape[0] * shape[1]
    words = generator.integers(0, 2**64, -(-count // 8), np.uint64)
    return words.view(np.uint8)[:count].reshape(shape)


@cache
def _quantiles() -> np.ndarray:
    """Normal deviates at the middles of 65,536 equal shares: a random 16-bit number picks one."""
    half = [NormalDist().inv_cdf((i + 0.5) / 65536) for i in range(32768, 65536)]
    return np.concatenate([-np.array(half[::-1]), half])


@cache
def _normal_values(name: str, std: float, mean: float) -> np.ndarray:
    if name == "F8_E4M3":
        return (_quantiles() * F8_STD).astype(float8_e4m3fn)
    dtype = {"F32": np.float32, "F16": np.float16, "BF16": bfloat16}[name]
    return (_quantiles() * std + mean).astype(dtype)


def _set(blocks: Blocks, at: int, values: np.ndarray) -> None:
    blocks[:, at : at + 2] = values.astype(np.float16).view(np.uint8).reshape(-1, 2)


def _scales(blocks: Blocks, at: int, scale: float) -> np.ndarray:
    """Positive float16 scales between 3/4 and 5/4 of `scale`, picked by the random byte at `at`."""
    return (scale * np.linspace(0.75, 1.25, 256)).astype(np.float16)[blocks[:, at]]


def _signed(blocks: Blocks, scales: np.ndarray, at: int) -> np.ndarray:
    """Levels such as -8 to 7 have a mean of -1/2; a random sign of the scale makes it 0."""
    return np.where(blocks[:, at] & 1, scales, -scales)


def _symmetric(levels: int, at: int = 0) -> Callable[[Blocks, float], None]:
    """A float16 scale at `at`, levels -levels/2 to levels/2 - 1."""
    deviation = np.sqrt((levels**2 + 2) / 12)

    def fix(blocks: Blocks, std: float) -> None:
        _set(blocks, at, _signed(blocks, _scales(blocks, at, std / deviation), at + 1))

    return fix


def _affine(levels: int) -> Callable[[Blocks, float], None]:
    """Scale and minimum in float16; levels 0 to levels - 1."""
    deviation = np.sqrt((levels**2 - 1) / 12)

    def fix(blocks: Blocks, std: float) -> None:
        scales = _scales(blocks, 0, std / deviation)
        _set(blocks, 0, scales)
        _set(blocks, 2, scales * np.float16(-(levels - 1) / 2))

    return fix


def _q8_0(blocks: Blocks, std: float) -> None:
    levels = blocks[:, 2:].view(np.int8)
    np.maximum(levels, -127, out=levels)  # quantizers never write -128, and kernels may count on it
    _set(blocks, 0, _scales(blocks, 0, std / 73.6))


def _k_affine(levels: int) -> Callable[[Blocks, float], None]:
    """Q4_K, Q5_K: sub-blocks with 6-bit scales and minima; each minimum is given its scale's number."""
    deviation = _rms(np.arange(64)) * np.sqrt((levels**2 - 1) / 12)

    def fix(blocks: Blocks, std: float) -> None:
        scales = _scales(blocks, 0, std / deviation)
        _set(blocks, 0, scales)
        _set(blocks, 2, scales * np.float16((levels - 1) / 2))
        blocks[:, 8:12] = blocks[:, 4:8]
        blocks[:, 12:16] = (blocks[:, 12:16] & 15) * 17

    return fix


def _q2_k(blocks: Blocks, std: float) -> None:
    scales = _scales(blocks, 80, std / (_rms(np.arange(16)) * np.sqrt(15 / 12)))
    _set(blocks, 80, scales)
    _set(blocks, 82, scales * np.float16(1.5))
    blocks[:, :16] = (blocks[:, :16] & 15) * 17


def _twice_signed(at: int, scales: np.ndarray, levels: np.ndarray) -> Callable[[Blocks, float], None]:
    """A float16 scale at `at` over sub-blocks whose own integer scales have either sign and stay random."""
    deviation = _rms(scales) * _rms(levels)

    def fix(blocks: Blocks, std: float) -> None:
        _set(blocks, at, _signed(blocks, _scales(blocks, at, std / deviation), at + 1))

    return fix


def _mxfp4(blocks: Blocks, std: float) -> None:
    """A power-of-two exponent (OCP Microscaling Formats 1.0): the deviation is met within a factor of 1.4."""
    blocks[:, 0] = np.clip(np.round(127 + np.log2(std / _rms(np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])))), 1, 254)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.asarray(values, np.float64) ** 2)))


_IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113])
_SIX_BITS = np.arange(-32, 32)

_QUANTIZED: dict[str, Callable[[Blocks, float], None]] = {
    "Q4_0": _symmetric(16),
    "Q5_0": _symmetric(32),
    "Q4_1": _affine(16),
    "Q5_1": _affine(32),
    "Q8_0": _q8_0,
    "Q2_K": _q2_k,
    "Q3_K": _twice_signed(108, _SIX_BITS, np.arange(-4, 4)),
    "Q4_K": _k_affine(16),
    "Q5_K": _k_affine(32),
    "Q6_K": _twice_signed(208, np.arange(-128, 128), _SIX_BITS),
    "IQ4_NL": _twice_signed(0, np.array([1]), _IQ4),
    "IQ4_XS": _twice_signed(0, _SIX_BITS, _IQ4),
    "MXFP4": _mxfp4,
}

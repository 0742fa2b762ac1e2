"""Random matrices in every stored format, and the arithmetic of the int8 scheme written out in numpy."""

import numpy as np
import pytest

from divebell import _native
from divebell.weights.arrangement import arranged
from divebell.weights.formats import COLUMNS, F8_E4M3, F32, MXFP4, OWN, Format
from divebell.weights.panels import IN_PANELS
from divebell.weights.tensor import Tensor

CHUNK = 256

reads_panels = _native.isa in ("avx512", "amx")

same_in_company = pytest.mark.skipif(
    _native.isa not in ("scalar", "avx2"), reason="few and many tokens add up in different orders here"
)


def random_tensor(format: Format, rows: int, cols: int, seed: int = 0) -> Tensor:
    """Any bytes are valid quants; only the scales are drawn so that values stay near 0.1."""
    rng = np.random.default_rng(seed)
    if format.block == 1 and format is not F8_E4M3:
        bits = (rng.standard_normal(rows * cols) * 0.1).astype(np.float32)
        return Tensor("w", format, (rows, cols), _float_bytes(bits, format))
    if format in OWN:
        return Tensor("w", format, (rows, cols), _own_bytes(format, rows, cols, rng))
    blocks = rng.integers(0, 256, (rows * cols // format.block, format.block_bytes), dtype=np.uint8)
    for at in format.halves:
        halves = (rng.standard_normal(len(blocks)) * 0.01).astype(np.float16)
        blocks[:, at : at + 2] = halves[:, None].view(np.uint8)
    if format is MXFP4:
        blocks[:, 0] = rng.integers(118, 125, len(blocks))
    scales = None
    if format is F8_E4M3:
        blocks[(blocks & 0x7F) == 0x7F] = 0x3A  # the two NaN codes
        scales = rng.random((-(-rows // 128), -(-cols // 128)), np.float32) * 0.01
    return Tensor("w", format, (rows, cols), blocks.reshape(-1), scales)


def _own_bytes(format: Format, rows: int, cols: int, rng: np.random.Generator) -> np.ndarray:
    """Random planes and scales; each chunk's half lies before its scales, which are one for each 32 columns."""
    data = rng.integers(0, 256, (rows, format.nbytes((cols,))), dtype=np.uint8)
    for begin in range(0, cols, COLUMNS):
        end = min(begin + COLUMNS, cols)
        at = format.nbytes((end,)) - (end - begin) // 32 - 2
        data[:, at : at + 2] = (rng.standard_normal((rows, 1)) * 0.2).astype(np.float16).view(np.uint8)
    return data.reshape(-1)


def _float_bytes(x: np.ndarray, format: Format) -> np.ndarray:
    if format is F32:
        return x.view(np.uint8)
    return (x.astype(np.float16) if format.name == "F16" else (x.view(np.uint32) >> 16).astype(np.uint16)).view(
        np.uint8
    )


def in_panels(tensor: Tensor) -> Tensor:
    """The same numbers in the order that AVX-512 reads."""
    return arranged(tensor, IN_PANELS[tensor.format], np.empty(tensor.nbytes, np.uint8))


def activations(T: int, cols: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((T, cols)).astype(np.float32)


def rounded(x: np.ndarray) -> np.ndarray:
    """x as the kernels see it: int8 in groups of 32 along the last axis, scale = absmax / 127; float32 like x."""
    padded = np.zeros((len(x), -(-x.shape[1] // 32) * 32), np.float32)
    padded[:, : x.shape[1]] = x
    groups = padded.reshape(len(x), padded.shape[1] // 32, 32)
    most = np.abs(groups).max(axis=-1, keepdims=True)
    with np.errstate(divide="ignore"):
        inverse = np.where(most > 1e-30, np.float32(127) / most, np.float32(0))
    quants = np.rint(groups * inverse)
    return (quants * (most / np.float32(127))).reshape(padded.shape)[:, : x.shape[1]]


def product(x: np.ndarray, tensor: Tensor) -> np.ndarray:
    """What `linears` must give, in float64: with x rounded where the format multiplies in int8."""
    x = x if tensor.format.block == 1 else rounded(x)
    return x.astype(np.float64) @ tensor.f32().T.astype(np.float64)


def magnitude(x: np.ndarray, tensor: Tensor) -> np.ndarray:
    """The sum of the absolute terms: what float32 rounding errors are relative to."""
    return np.abs(x).astype(np.float64) @ np.abs(tensor.f32().T).astype(np.float64)

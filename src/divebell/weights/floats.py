"""float32 numbers in the formats that released checkpoints are stored in.

FP8 as DeepSeek-V3 releases it (README_WEIGHTS of deepseek-ai/DeepSeek-V3): E4M3, with a float32 scale for each block of
128x128, which multiplies. Where a model's scales are powers of two (`scale_fmt` "ue8m0", since V3.1), new ones are too.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from ml_dtypes import bfloat16, float8_e4m3fn

from divebell.weights.formats import BF16, F8_BLOCK, F16, F32, Format

F8_LARGEST = 448.0


def packed(numbers: np.ndarray, format: Format) -> np.ndarray:
    """float32 numbers as F32, F16 or BF16, each the nearest, ties to even: uint8, 1-d. NaN stays NaN."""
    if format is F32:
        return np.ascontiguousarray(numbers).reshape(-1).view(np.uint8)
    if format is F16:
        with np.errstate(over="ignore"):
            return numbers.astype(np.float16).reshape(-1).view(np.uint8)
    if format is not BF16:
        raise ValueError(format.name)
    rounded, lost = numbers.astype(bfloat16).view(np.uint16), np.isnan(numbers)
    if lost.any():
        rounded[lost] = (numbers[lost].view(np.uint32) >> 16) | 0x40  # as ggml does, whose files say which NaN it was
    return rounded.reshape(-1).view(np.uint8)


def packed_f8(tiles: Iterable[np.ndarray], powers_of_two: bool = False) -> Iterator[np.ndarray]:
    """The bytes of a matrix's numbers, then those of its scales: uint8, 1-d.

    tiles: float32 (rows, columns), from the top; all but the last have a multiple of 128 rows.
    """
    scales = []
    for tile in tiles:
        numbers, own = _f8_blocks(tile, powers_of_two)
        scales.append(own)
        yield numbers
    yield np.concatenate(scales).reshape(-1).view(np.uint8)


def _f8_blocks(tile: np.ndarray, powers_of_two: bool) -> tuple[np.ndarray, np.ndarray]:
    (rows, columns), (high, wide) = tile.shape, (-(-size // F8_BLOCK) for size in tile.shape)
    padded = np.zeros((high * F8_BLOCK, wide * F8_BLOCK), np.float32)
    padded[:rows, :columns] = tile
    blocks = padded.reshape(high, F8_BLOCK, wide, F8_BLOCK)
    largest = np.abs(blocks).max(axis=(1, 3))
    scales = np.where(largest > 0, largest / np.float32(F8_LARGEST), np.float32(1))
    if powers_of_two:
        scales = np.exp2(np.ceil(np.log2(scales)))
    blocks /= scales[:, None, :, None]
    numbers = padded[:rows, :columns].astype(float8_e4m3fn)
    return numbers.reshape(-1).view(np.uint8), scales

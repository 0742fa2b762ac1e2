"""Random batches over paged caches, for the ops that read one."""

import ml_dtypes
import numpy as np

from divebell import _native
from divebell.ops.batch import Batch

PAGE = 64
DTYPES = [np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16)]


def paged(past: list[int], fresh: list[int], seed: int = 0) -> Batch:
    """Sequences with `past` cached tokens and `fresh` new ones each, their pages in a shuffled order."""
    needs = [-(-(p + n) // PAGE) for p, n in zip(past, fresh, strict=True)]
    order = np.random.default_rng(seed).permutation(sum(needs)).tolist()
    pages = [[order.pop() for _ in range(need)] for need in needs]
    return Batch.of([np.zeros(n, np.int32) for n in fresh], past, pages)


def cached(batch: Batch, width: int, dtype: np.dtype, rng: np.random.Generator) -> np.ndarray:
    """Pages with random rows where tokens of the past lie and NaN elsewhere: what should not be read shows."""
    pages = np.full((int(batch.pages.max()) + 1, PAGE, width), np.nan, dtype)
    for s, length in enumerate(batch.lengths - np.diff(batch.starts)):
        page, slot = np.divmod(np.arange(length), PAGE)
        pages[batch.pages[s, page], slot] = rng.standard_normal((length, width)).astype(dtype)
    return pages


def in_pairs(pages: np.ndarray, rank: int) -> np.ndarray:
    """Latents as `native.mla` keeps them: where bfloat16 has dot products, two tokens' pairs of numbers take turns."""
    count, page, width = pages.shape
    if pages.dtype == np.float32 or not _native.bf16_dot or width % 16 or rank % 16:
        return pages.copy()
    return np.ascontiguousarray(pages.reshape(count, page // 2, 2, width // 2, 2).swapaxes(2, 3)).reshape(pages.shape)


def close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 2e-5) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def close_over(dtype: np.dtype, actual: np.ndarray, expected: np.ndarray) -> None:
    """Where bfloat16 has dot products of its own, queries and weights are rounded to its 8 bits like the cache."""
    rounded = dtype != np.float32 and _native.bf16_dot
    close(actual, expected, 2e-2 if rounded else 2e-5)
    error = np.sqrt(np.mean((actual - expected) ** 2) / np.mean(expected**2))
    assert error <= (6e-3 if rounded else 2e-6)

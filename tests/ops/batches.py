"""Random batches over paged caches, for the ops that read one."""

from collections.abc import Callable

import ml_dtypes
import numpy as np
from stored import reads_panels

from divebell import _native
from divebell.ops import native, reference
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


def latents(batch: Batch, rank: int, rope: int, dtype: np.dtype, rng: np.random.Generator) -> np.ndarray:
    """`cached`, of bytes too, as the reference keeps them: rounded, two scales behind each token's."""
    if dtype != np.uint8:
        return cached(batch, rank + rope, dtype, rng)
    pages = cached(batch, rank + rope, np.float32, rng)
    flat = pages.reshape(-1, rank + rope)
    there = np.isfinite(flat).all(axis=1)
    bytes_ = np.full((len(flat), rank + rope + 8), 255, np.uint8)
    bytes_[there] = reference._rounded(flat[there], rank)
    return bytes_.reshape(*pages.shape[:2], -1)


def as_native(pages: np.ndarray, rank: int) -> np.ndarray:
    """Latents as `native.mla` keeps them: two tokens' pairs of bfloat16 take turns where those have dot products but no
    tiles, four tokens' fours of bytes everywhere, their scales behind the page."""
    count, page, width = pages.shape
    if pages.dtype == np.uint8:
        rows = pages[..., :-8].reshape(count, page // 4, 4, -1, 4).swapaxes(2, 3).reshape(count, -1)
        scales = np.ascontiguousarray(pages[..., -8:]).view(np.float32).swapaxes(1, 2).reshape(count, -1)
        return np.concatenate([rows, scales.view(np.uint8)], axis=1).reshape(pages.shape)
    tiles = _native.isa == "amx" and width % 32 == 0 and rank % 32 == 0
    if pages.dtype == np.float32 or not _native.bf16_dot or width % 16 or rank % 16 or tiles:
        return pages.copy()
    return np.ascontiguousarray(pages.reshape(count, page // 2, 2, width // 2, 2).swapaxes(2, 3)).reshape(pages.shape)


def close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 2e-5) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def close_over(dtype: np.dtype, actual: np.ndarray, expected: np.ndarray) -> None:
    """Where bfloat16 has dot products of its own, queries and weights are rounded to its 8 bits like the cache; beside
    bytes, with AVX-512, to bytes."""
    exact = dtype == np.float32 or (not _native.bf16_dot and (dtype != np.uint8 or not reads_panels))
    within(actual, expected, *((2e-5, 2e-6) if exact else (2e-2, 6e-3) if dtype != np.uint8 else (3e-2, 2.5e-2)))


def close_over_latents(dtype: np.dtype, actual: np.ndarray, expected: np.ndarray) -> None:
    """The same of latents; those of 2 bytes or less are multiplied as whole numbers of 11 to 15 bits with AVX2."""
    if dtype != np.float32 and _native.isa == "avx2":
        within(actual, expected, 1e-3, 6e-4)
    else:
        close_over(dtype, actual, expected)


def same_bits_with_threads(counts: tuple[int, ...], run: Callable[[], np.ndarray]) -> None:
    before = native.threads()
    try:
        results = [(native.set_threads(count), run())[1] for count in counts]
    finally:
        native.set_threads(before)
    for result in results[1:]:
        np.testing.assert_array_equal(results[0], result)


def within(actual: np.ndarray, expected: np.ndarray, largest: float, mean: float) -> None:
    close(actual, expected, largest)
    error = np.sqrt(np.mean((actual - expected) ** 2) / np.mean(expected**2))
    assert error <= mean

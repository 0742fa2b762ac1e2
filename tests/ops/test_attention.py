"""attention against the reference: every way that the work is cut, whatever the heads' widths."""

import numpy as np
import pytest
from batches import DTYPES, PAGE, cached, close_over, paged, same_bits_with_threads

from divebell import _native
from divebell.ops import native, reference
from divebell.ops.batch import Batch

# past, fresh: a prompt, one that goes on, decoding near and far (keys are cut beyond 512), and all of them at once
CASES = {
    "prompt": ([0], [130]),
    "chunk": ([700], [77]),
    "decode": ([5], [1]),
    "deep": ([1500], [1]),
    "mixed": ([0, 900, 63, 64, 1200], [70, 1, 1, 1, 40]),
}


def case(name: str, dtype, heads: int = 6, groups: int = 2, dim: int = 24, value_dim: int = 20, seed: int = 0):
    rng, batch = np.random.default_rng(seed), paged(*CASES[name])
    tokens = len(batch.ids)
    q, k, v = (
        rng.standard_normal((tokens, n, d), np.float32) for n, d in ((heads, dim), (groups, dim), (groups, value_dim))
    )
    pages = cached(batch, groups * dim, dtype, rng), cached(batch, groups * value_dim, dtype, rng)
    return q, k, v, pages, batch


def copies(pages):
    return tuple(component.copy() for component in pages)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("window", [None, 1, 100])
def test_reference(name, window, dtype):
    q, k, v, pages, batch = case(name, dtype)
    mine, theirs = copies(pages), copies(pages)
    expected = reference.attention(q, k, v, theirs, batch, 0.2, window)
    close_over(dtype, native.attention(q, k, v, mine, batch, 0.2, window), expected)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))  # this step's rows, rounded alike


@pytest.mark.parametrize(("heads", "groups"), [(1, 1), (9, 3), (8, 8), (32, 2)])
@pytest.mark.parametrize("dim", [1, 16, 33, 64, 128])
def test_shapes(heads, groups, dim):
    q, k, v, pages, batch = case("mixed", DTYPES[1], heads, groups, dim, dim)
    expected = reference.attention(q, k, v, copies(pages), batch, dim**-0.5, None)
    close_over(DTYPES[1], native.attention(q, k, v, pages, batch, dim**-0.5, None), expected)


@pytest.mark.parametrize("name", CASES)
def test_same_bits_with_any_number_of_threads(name):
    q, k, v, pages, batch = case(name, DTYPES[1])
    same_bits_with_threads((1, 2, 3), lambda: native.attention(q, k, v, copies(pages), batch, 0.2, None))


def test_same_bits_however_many_heads_go_to_a_thread():
    """Of 8 key heads over three stretches: all 8 at a time, 6 and 2, one."""
    q, k, v, pages, batch = case("deep", DTYPES[1], heads=16, groups=8)
    same_bits_with_threads((1, 4, 24), lambda: native.attention(q, k, v, copies(pages), batch, 0.2, None))


def test_same_bits_alone_and_in_a_batch():
    q, k, v, pages, batch = case("mixed", DTYPES[0])
    together = native.attention(q, k, v, copies(pages), batch, 0.2, None)
    for s in range(len(batch.lengths)):
        own = slice(batch.starts[s], batch.starts[s + 1])
        alone = Batch(
            batch.ids[own],
            batch.positions[own],
            np.array([0, own.stop - own.start], np.int32),
            batch.lengths[s : s + 1],
            batch.pages[s : s + 1],
        )
        np.testing.assert_array_equal(
            native.attention(q[own], k[own], v[own], copies(pages), alone, 0.2, None), together[own]
        )


IN_TILES = pytest.mark.skipif(_native.isa == "amx", reason="few queries are not rounded here, many are")


@pytest.mark.parametrize("dtype", [DTYPES[0], pytest.param(DTYPES[1], marks=IN_TILES)], ids=str)
@pytest.mark.parametrize("window", [None, 100, 700])
def test_a_token_is_the_same_bits_however_a_prompt_is_cut(window, dtype):
    """Tiles of keys, and the stretches that decoding shares out, begin at the same positions for all."""
    length, heads = 1200, 6
    rng, whole = np.random.default_rng(1), paged([0], [length])
    q, k, v = (rng.standard_normal((length, n, 24), np.float32) for n in (heads, 2, 2))
    pages = cached(whole, 48, dtype, rng), cached(whole, 48, dtype, rng)
    expected = native.attention(q, k, v, pages, whole, 0.2, window)
    for fresh in (1, 2, 30, 43, 130, 700):
        batch, own = paged([length - fresh], [fresh]), slice(length - fresh, length)
        found = native.attention(q[own], k[own], v[own], copies(pages), batch, 0.2, window)
        np.testing.assert_array_equal(found, expected[own])


def test_scores_far_apart_do_not_overflow():
    q, k, v, pages, batch = case("prompt", DTYPES[0])
    out = native.attention(q * 1e4, k, v, pages, batch, 10.0, None)
    assert np.isfinite(out).all()


def test_a_nan_stays_with_the_tokens_that_see_it():
    q, k, v, pages, batch = case("prompt", DTYPES[0])
    k[50] = np.nan
    out = native.attention(q, k, v, pages, batch, 0.2, None)
    assert np.isfinite(out[:50]).all()
    assert np.isnan(out[50:]).all()


def test_what_contradicts_itself_is_refused():
    q, k, v, pages, batch = case("decode", DTYPES[0])
    with pytest.raises(ValueError, match="contradict each other in shape"):
        native.attention(q, k[:, :, :5].copy(), v, pages, batch, 0.2, None)
    with pytest.raises(ValueError, match="pages are 48 wide, not 40"):
        native.attention(q, k, v, (pages[0], pages[0]), batch, 0.2, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pages": np.array([[7]], np.int32)}, "page 7 of sequence 0"),
        ({"pages": np.array([[-1]], np.int32)}, "page -1 of sequence 0"),
        ({"positions": np.array([PAGE], np.int32)}, "position 64 of sequence 0"),
        ({"positions": np.array([-1], np.int32)}, "position -1 of sequence 0"),
        ({"lengths": np.array([2**30], np.int32)}, "has length 1073741824"),
        ({"starts": np.array([0, 2], np.int32)}, "starts must run from 0"),
        ({"starts": np.array([0, 1, 1], np.int32)}, "contradict each other"),
    ],
)
def test_a_batch_that_leaves_the_cache_is_refused(change, message):
    q, k, v, pages, batch = case("decode", DTYPES[0])
    fields = {name: getattr(batch, name) for name in ("ids", "positions", "starts", "lengths", "pages")}
    with pytest.raises(ValueError, match=message):
        native.attention(q, k, v, pages, Batch(**fields | change), 0.2, None)

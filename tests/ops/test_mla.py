"""mla against the reference, by both of its ways: few new tokens absorb, many expand."""

import numpy as np
import pytest
import stored
from batches import DTYPES, as_native, cached, close, close_over_latents, latents, paged, same_bits_with_threads

from divebell.ops import native, reference
from divebell.ops.batch import Batch
from divebell.weights.formats import BY_NAME, F32
from divebell.weights.tensor import Tensor

CASES = {
    "prompt": ([0], [300]),
    "long prompt": ([0], [600]),
    "few": ([0], [3]),
    "chunk": ([700], [90]),
    "decode": ([5], [1]),
    "deep": ([1500], [1]),
    "mixed": ([0, 900, 63, 64, 1200], [70, 1, 1, 1, 200]),
}
HEADS, NOPE, ROPE, V, RANK = 3, 24, 16, 20, 32
LATENTS = [*DTYPES, np.dtype(np.uint8)]


def tensor(x: np.ndarray) -> Tensor:
    return Tensor("w", F32, x.shape, np.ascontiguousarray(x, np.float32).reshape(-1).view(np.uint8))


def case(name: str, dtype=DTYPES[0], heads=HEADS, nope=NOPE, rope=ROPE, rank=RANK):
    rng, batch = np.random.default_rng(3), paged(*CASES[name])
    q = rng.standard_normal((len(batch.ids), heads, nope + rope), np.float32)
    latent = rng.standard_normal((len(batch.ids), rank + rope), np.float32)
    return q, latent, latents(batch, rank, rope, dtype, rng), batch


def matrices(split: bool, heads=HEADS, nope=NOPE, v=V, rank=RANK) -> dict[str, Tensor]:
    rows = np.random.default_rng(4).standard_normal((heads, nope + v, rank), np.float32) * rank**-0.5
    if not split:
        return {"kv_b": tensor(rows.reshape(-1, rank))}
    return {"k_b": tensor(rows[:, :nope].transpose(0, 2, 1)), "v_b": tensor(rows[:, nope:])}


@pytest.mark.parametrize("dtype", LATENTS, ids=str)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("split", [False, True])
def test_reference(name, split, dtype):
    q, latent, pages, batch = case(name, dtype)
    ours, up = as_native(pages, RANK), matrices(split)
    expected = reference.mla(q, latent, pages, reference.up_projections(**up), batch, 0.3)
    close_over_latents(dtype, native.mla(q, latent, ours, native.up_projections(**up), batch, 0.3), expected)
    np.testing.assert_array_equal(ours.view(np.uint8), as_native(pages, RANK).view(np.uint8))


@pytest.mark.parametrize("dtype", LATENTS[1:], ids=str)
@pytest.mark.parametrize("name", ["prompt", "deep", "mixed"])
def test_released_widths(name, dtype):
    """DeepSeek's 128 + 64 | 128 over a latent of 512, and more heads than a tile of rows."""
    q, latent, pages, batch = case(name, dtype, 70, 128, 64, 512)
    up = matrices(False, 70, 128, 128, 512)
    ours = as_native(pages, 512)
    expected = reference.mla(q, latent, pages, reference.up_projections(**up), batch, 192**-0.5)
    close_over_latents(dtype, native.mla(q, latent, ours, native.up_projections(**up), batch, 192**-0.5), expected)


@pytest.mark.parametrize("format", ["F16", "BF16", "F8_E4M3", "Q8_0", "Q4_0", "Q4_K", "Q6_K", "MXFP4"])
@pytest.mark.parametrize("name", ["long prompt", "decode"])
@pytest.mark.parametrize("split", [False, True])
def test_formats(format, name, split):
    """Block formats see int8 activations, so they agree with the exact result as well as int8 can."""
    heads, nope, v, rank = 2, 256, 256, 512
    q, latent, pages, batch = case(name, DTYPES[0], heads, nope, 32, rank)
    if split:
        up = {"k_b": stack(format, heads, rank, nope), "v_b": stack(format, heads, v, rank)}
    else:
        up = {"kv_b": stored.random_tensor(BY_NAME[format], heads * (nope + v), rank)}
    scale = 1 / np.sqrt(nope * rank) / next(iter(up.values())).f32().std()
    expected = reference.mla(q, latent, pages.copy(), reference.up_projections(**up), batch, scale)
    actual = native.mla(q, latent, pages, native.up_projections(**up), batch, scale)
    close(actual, expected, 2e-2 if BY_NAME[format].block > 1 else 1e-4)


def stack(format: str, heads: int, rows: int, cols: int) -> Tensor:
    whole = stored.random_tensor(BY_NAME[format], heads * rows, cols)
    return Tensor("w", whole.format, (heads, rows, cols), whole.data, whole.scales)


def test_many_faint_keys_beside_one_that_stands_out():
    """Weights of a tile are bytes of its largest: those that would round to nothing but count together are kept."""
    rank, rope, length = 64, 16, 1000
    rng, batch = np.random.default_rng(5), paged([length - 1], [1])
    pages = cached(batch, rank + rope, np.float32, rng) * np.float32(0.3)
    pages[batch.pages[0, 0], 0, 0] = 30  # the first key: as heavy as some hundred of the others together
    q = np.zeros((1, 1, 32), np.float32)
    up = matrices(False, 1, 16, 16, rank)
    q[0, 0, :16] = up["kv_b"].f32()[:16, 0] * 0.55 / np.sum(up["kv_b"].f32()[:16, 0] ** 2)
    rows = np.nan_to_num(pages).reshape(-1, rank + rope)
    bytes_ = reference._rounded(rows, rank).reshape(*pages.shape[:2], -1)
    latent = rng.standard_normal((1, rank + rope), np.float32) * np.float32(0.3)
    expected = reference.mla(q, latent, bytes_, reference.up_projections(**up), batch, 0.3)
    actual = native.mla(q, latent, as_native(bytes_, rank), native.up_projections(**up), batch, 0.3)
    close(actual, expected, 1e-2)


@pytest.mark.parametrize("dtype", LATENTS, ids=str)
@pytest.mark.parametrize(("past", "fresh"), [(600, 1), (63, 2), (0, 300)])
def test_numbers_all_as_large_as_their_row_allows(past, fresh, dtype):
    """Whole numbers' sums are largest where every product has the same sign and every key the same weight."""
    heads, nope, rope, v, rank = 2, 16, 64, 16, 512
    batch = paged([past], [fresh])
    up = {"kv_b": tensor(np.ones((heads * (nope + v), rank), np.float32))}
    q, latent = np.ones((fresh, heads, nope + rope), np.float32), np.ones((fresh, rank + rope), np.float32)
    rows = np.ones((int(batch.pages.max()) + 1, 64, rank + rope), np.float32)
    pages = rows.astype(dtype)
    if dtype == np.uint8:
        pages = reference._rounded(rows.reshape(-1, rank + rope), rank).reshape(len(rows), 64, -1)
    actual = native.mla(q, latent, as_native(pages, rank), native.up_projections(**up), batch, 1e-3)
    np.testing.assert_allclose(actual, rank, rtol=1e-3)  # each value number adds up a latent of ones


@pytest.mark.parametrize("dtype", LATENTS, ids=str)
@pytest.mark.parametrize(("past", "fresh"), [(70, 6), (10, 300)])
def test_what_is_no_number_shows(past, fresh, dtype):
    rng, batch = np.random.default_rng(6), paged([past], [fresh])
    q = rng.standard_normal((fresh, HEADS, NOPE + ROPE), np.float32)
    latent = rng.standard_normal((fresh, RANK + ROPE), np.float32)
    pages, up = as_native(latents(batch, RANK, ROPE, dtype, rng), RANK), native.up_projections(**matrices(False))
    assert np.isfinite(native.mla(q, latent, pages.copy(), up, batch, 0.3)).all()
    latent[4, 3] = np.nan
    assert np.isnan(native.mla(q, latent, pages, up, batch, 0.3)[4:]).all()


@pytest.mark.skipif(stored.reads_panels, reason="rounds by rows that are taken together")
@pytest.mark.parametrize("dtype", LATENTS, ids=str)
def test_same_bits_one_by_one(dtype):
    past, fresh = 1100, 9
    q, latent, pages, _ = case("mixed", dtype)
    rng, whole = np.random.default_rng(7), paged([past], [fresh])
    pages, up = as_native(latents(whole, RANK, ROPE, dtype, rng), RANK), native.up_projections(**matrices(False))
    together = native.mla(q[:fresh], latent[:fresh], pages.copy(), up, whole, 0.3)
    for i in range(fresh):
        one = Batch.of([np.zeros(1, np.int32)], [past + i], [whole.pages[0].tolist()])
        alone = native.mla(q[i : i + 1], latent[i : i + 1], pages, up, one, 0.3)
        np.testing.assert_array_equal(alone[0], together[i])


@pytest.mark.parametrize("dtype", LATENTS[1:], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_same_bits_with_any_number_of_threads(name, dtype):
    q, latent, pages, batch = case(name, dtype)
    up = native.up_projections(**matrices(False))
    same_bits_with_threads((1, 2, 3), lambda: native.mla(q, latent, as_native(pages, RANK), up, batch, 0.3))


def test_what_contradicts_itself_is_refused():
    q, latent, pages, batch = case("decode")
    up = native.up_projections(**matrices(False))
    with pytest.raises(ValueError, match="pages are 48 wide, not 40"):
        native.mla(q, latent[:, :40].copy(), pages, up, batch, 0.3)
    with pytest.raises(ValueError, match="do not fit"):
        native.mla(q[:, :2].copy(), latent, pages, native.up_projections(**matrices(True)), batch, 0.3)
    with pytest.raises(ValueError, match="give kv_b, or k_b and v_b"):
        native.up_projections()
    with pytest.raises(ValueError, match="must be"):
        native.up_projections(k_b=matrices(True)["v_b"], v_b=matrices(True)["k_b"])

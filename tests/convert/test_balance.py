"""Scaled on both sides: no product changes, and what was far apart in size is so no longer."""

import numpy as np
import pytest

from divebell.convert.balance import balanced
from divebell.convert.shape import Shape

RANDOM = np.random.default_rng(5)
HEADS, NOPE, V, HIDDEN = 3, 4, 5, 16
SHAPE = Shape(np.array([2, 1]), 7)
ROPE = 2 * SHAPE.pairs


def attention(queries: str = "q") -> dict[str, np.ndarray]:
    """Rows of queries and keys, and latents, of sizes from 1e-4 to 1e4, against each other."""
    rows = HEADS * (NOPE + ROPE)
    spread = 10.0 ** RANDOM.uniform(-4, 4, (HEADS, NOPE))
    q, kv_b = RANDOM.normal(size=(HEADS, NOPE + ROPE, HIDDEN)), RANDOM.normal(size=(HEADS, NOPE + V, SHAPE.rank))
    q[:, :NOPE] *= spread[..., None]
    kv_b[:, :NOPE] /= spread[..., None]
    kv_a, bias = RANDOM.normal(size=(SHAPE.rank + ROPE, HIDDEN)), RANDOM.normal(size=SHAPE.rank + ROPE)
    of_latents = np.append(10.0 ** RANDOM.uniform(-4, 4, SHAPE.rank - 1), 1.0)
    kv_a[: SHAPE.rank] *= of_latents[:, None]
    kv_b /= of_latents
    return {queries: q.reshape(rows, HIDDEN), "kv_b": kv_b.reshape(-1, SHAPE.rank), "kv_a": kv_a, "kv_a_bias": bias}


def products(values: dict[str, np.ndarray], queries: str) -> list[np.ndarray]:
    """What comes of the latent, key by query, and value by value."""
    q = values[queries].reshape(HEADS, NOPE + ROPE, HIDDEN)
    rows = np.column_stack([values["kv_a"], values["kv_a_bias"]])
    told = values["kv_b"].reshape(HEADS, NOPE + V, SHAPE.rank) @ rows[: SHAPE.rank]
    turning = rows[SHAPE.rank :].reshape(1, SHAPE.pairs, 2, -1)
    asked = q[:, NOPE:].reshape(HEADS, SHAPE.pairs, 2, HIDDEN)
    crosswise = np.einsum("hpix,hpjy->hpijxy", asked, np.repeat(turning, HEADS, axis=0))
    return [np.einsum("hix,hiy->hixy", q[:, :NOPE], told[:, :NOPE]), told[:, NOPE:], crosswise]


@pytest.mark.parametrize("queries", ["q", "q_b"])
def test_no_product_changes(queries):
    values = attention(queries)
    found = balanced(values, HEADS, NOPE, SHAPE)
    for right, own in zip(products(values, queries), products(found, queries), strict=True):
        np.testing.assert_allclose(own, right, rtol=1e-12, atol=1e-12 * abs(right).max())


def test_sizes_come_together():
    def spread(values: dict[str, np.ndarray]) -> float:
        told = values["kv_b"].reshape(HEADS, -1, SHAPE.rank)[:, :NOPE]
        rows = [*values["q"], *told.reshape(-1, SHAPE.rank), *values["kv_a"]]
        sizes = [np.sqrt((row**2).mean()) for row in rows]
        return max(sizes) / min(sizes)

    values = attention()
    assert spread(values) > 1e4
    assert spread(balanced(values, HEADS, NOPE, SHAPE)) < 30


def test_rows_of_zeros_are_left_alone():
    values = attention()
    values["q"][:1], values["kv_a"][2], values["kv_b"][:, 2] = 0, 0, 0
    found = balanced(values, HEADS, NOPE, SHAPE)
    assert all(np.isfinite(each).all() for each in found.values())
    np.testing.assert_array_equal(found["kv_a"][2], 0)

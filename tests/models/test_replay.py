"""Steps that are done again without Python, held to the bit against those that are not."""

import numpy as np
import pytest
from checkpoints import SHAPES

from divebell import models
from divebell.models.replay import MOST_TOKENS
from divebell.ops import native
from divebell.ops.batch import Batch
from divebell.weights.checkpoint import open_checkpoint

PAGES = 20
CLOSE = 1016  # to the 1,024 positions after which RoPE's rows and the page table grow


@pytest.fixture
def model(tiny):
    return lambda name: models.load(open_checkpoint(tiny(name)), native, "f32")


def caches(model, sequences: int) -> tuple[list, list]:
    """Twice the same, full of numbers."""
    random = np.random.default_rng(3)
    layers = [
        {
            name: random.standard_normal((PAGES * sequences, 64, width)).astype(model.cache_dtype)
            for name, width in layer.items()
        }
        for layer in model.cache_layout
    ]
    return layers, [{name: pages.copy() for name, pages in layer.items()} for layer in layers]


def step(past: list[int], counts: list[int], seed: int) -> Batch:
    random = np.random.default_rng(seed)
    ids = [random.integers(0, 320, count) for count in counts]
    pages = [
        [PAGES * s + page for page in range(-(-(p + n) // 64))]
        for s, (p, n) in enumerate(zip(past, counts, strict=True))
    ]
    return Batch.of(ids, past, pages)


@pytest.mark.parametrize("name", SHAPES)
def test_the_same_bits_as_op_by_op(name, model):
    own, other = model(name), model(name)
    once, again = caches(own, 2)
    past = [CLOSE, 5]
    for seed, counts in enumerate([[1, 1]] * 12 + [[3, 1], [1, 2], [3, 1], [2, 2], [1, 1]]):
        batch = step(past, counts, seed)
        np.testing.assert_array_equal(own.step(batch, once), other.forward(batch, again))
        past = [p + n for p, n in zip(past, counts, strict=True)]
    for a, b in zip(once, again, strict=True):
        assert all(np.array_equal(a[component], b[component]) for component in a)


@pytest.mark.parametrize("name", ["llama", "deepseek_v3"])
def test_more_sequences_come_and_go(name, model):
    own, other = model(name), model(name)
    once, again = caches(own, 6)
    for seed, sequences in enumerate([1, 2, 3, 4, 5, 6, 1, 2, 6, 4, 1]):
        batch = step([seed + 9 * s for s in range(sequences)], [1] * sequences, seed)
        np.testing.assert_array_equal(own.step(batch, once), other.forward(batch, again))


def test_what_a_step_gave_stays_as_it_was(model):
    own = model("llama")
    cache, _ = caches(own, 1)
    results = [own.step(step([place], [1], place), cache) for place in range(4)]
    copies = [result.copy() for result in results]
    own.step(step([9], [1], 9), cache)
    assert all(np.array_equal(a, b) for a, b in zip(results, copies, strict=True))


def test_another_cache_is_written_to(model):
    own = model("llama")
    once, again = caches(own, 1)
    batch = step([3], [1], 0)
    for cache in (once, again, once):
        own.step(batch, cache)
    assert all(np.array_equal(a["k"], b["k"]) for a, b in zip(once, again, strict=True))


def test_the_time_of_each_op(model):
    own, seconds = model("deepseek_v3"), {}
    cache, _ = caches(own, 1)
    for place in range(3):
        own.step(step([place], [1], place), cache, seconds)
    assert set(seconds) == {"embed", "rms_norm", "linears", "rotate", "mla", "add", "swiglu", "route", "moe"}
    assert all(took > 0 for took in seconds.values())


def test_a_step_of_many_tokens_leaves_no_arrays_behind(model):
    own = model("llama")
    cache, _ = caches(own, 1)
    own.step(step([0], [MOST_TOKENS + 1], 0), cache)
    assert own._replay is None


def test_a_page_that_the_cache_lacks_is_refused_and_the_next_step_is_right(model):
    own, other = model("llama"), model("llama")
    once, again = caches(own, 1)
    good = step([5], [1], 0)
    expected = other.forward(good, again)
    own.step(good, once)
    bad = Batch.of([[1]], [5], [[PAGES]])
    with pytest.raises(ValueError, match=f"page {PAGES} of sequence 0, the cache has {PAGES}"):
        own.step(bad, once)
    np.testing.assert_array_equal(own.step(good, once), expected)

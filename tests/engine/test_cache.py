import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from divebell.engine.cache import PAGE, Cache, pages_for

LAYOUT = ({"k": 8, "v": 4}, {"latent": 6})


def test_arrays_have_the_layout_of_the_model():
    cache = Cache(LAYOUT, np.float32, 5)
    shapes = [{name: array.shape for name, array in layer.items()} for layer in cache.layers]
    assert shapes == [{"k": (5, PAGE, 8), "v": (5, PAGE, 4)}, {"latent": (5, PAGE, 6)}]
    assert all(array.flags.writeable and array.flags.c_contiguous for layer in cache.layers for array in layer.values())


def test_reserving_far_more_than_the_machine_has_costs_nothing_until_written():
    cache = Cache([{"k": 1 << 20}], np.float32, 1 << 12)  # a terabyte
    cache.layers[0]["k"][4095, 3, 5] = 1
    assert cache.layers[0]["k"][4095, 3].sum() == 1


def test_pages_for_rounds_up():
    assert [pages_for(n) for n in (0, 1, PAGE, PAGE + 1)] == [0, 1, 1, 2]


def test_taking_more_than_is_free_is_our_own_bug():
    with pytest.raises(RuntimeError, match="2 pages wanted, 1 free"):
        Cache(LAYOUT, np.float32, 1).take(2)


def test_freed_pages_are_used_again_first():
    cache = Cache(LAYOUT, np.float32, 100)
    first = cache.take(3)
    expected = list(first)
    cache.give_back(first)
    assert cache.take(3) == expected


class PagesAgainstSets(RuleBasedStateMachine):
    """The free list against a plain set of page numbers."""

    owners = Bundle("owners")

    def __init__(self):
        super().__init__()
        self.cache = Cache(LAYOUT, np.float32, 12)
        self.owned: list[list[int]] = []

    @rule(target=owners, count=st.integers(0, 5))
    def take(self, count):
        pages = self.cache.take(min(count, self.cache.free_pages))
        assert not set(pages) & {page for own in self.owned for page in own}
        self.owned.append(pages)
        return pages

    @rule(pages=consumes(owners))
    def give_back(self, pages):
        self.cache.give_back(pages)
        assert pages == []

    @rule(pages=owners)
    def give_back_twice(self, pages):
        self.cache.give_back(pages)
        self.cache.give_back(pages)

    @invariant()
    def nothing_is_lost_or_doubled(self):
        self.cache.check_integrity(self.owned)
        assert self.cache.free_pages == 12 - sum(map(len, self.owned))


PagesAgainstSets.TestCase.settings = settings(max_examples=50, deadline=None)
TestPagesAgainstSets = PagesAgainstSets.TestCase


def test_integrity_check_notices_a_page_owned_twice():
    cache = Cache(LAYOUT, np.float32, 4)
    pages = cache.take(2)
    with pytest.raises(RuntimeError, match="4 pages"):
        cache.check_integrity([pages, pages])

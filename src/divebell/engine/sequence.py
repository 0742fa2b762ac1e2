"""Tokens on their way through the model, and the pages that hold what is computed of them."""

from collections.abc import Callable
from collections.abc import Sequence as Tokens
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from divebell.engine.prefix import Node
    from divebell.models.adapter import Adapter

import numpy as np

from divebell.engine.books import Books, Spent
from divebell.engine.speculative import Guess


class Sequence:
    """One request, as the scheduler sees it.

    ids: tokens so far. given: how many of them it came with. most_tokens: no more than so many will ever be cached.
    cached: how many tokens are in the cache, in `pages`; the first len(path) pages are full, and nodes of the prefix
    tree. settled: whether all that others have computed of it has been found; the first `borrowed` pages are theirs.
    reused: tokens that were cached when it was first admitted; computed: tokens that the model ran for it.
    drafted: tokens that were guessed and run; accepted: those of them that came. arrival: its place in the line.
    spent: its share of the steps; books: where that is counted. adapter: what the model computes it with, if any.
    """

    def __init__(self, ids: Tokens[int], most_tokens: int, adapter: "Adapter | None" = None):
        self.ids, self.adapter = list(ids), adapter
        self.given = len(self.ids)
        self.most_tokens = most_tokens
        self.arrival = 0
        self.pages: list[int] = []
        self.path: list[Node] = []
        self.settled, self.borrowed = False, 0
        self.cached = self.computed = 0
        self.drafted = self.accepted = 0
        self.reused: int | None = None
        self.finish_reason: str | None = None
        self.error: Exception | None = None
        self.times = Times()
        self.spent = Spent()
        self.books: Books | None = None

    @property
    def missing(self) -> int:
        """Tokens that the cache does not hold yet: 1 while decoding."""
        return len(self.ids) - self.cached

    @property
    def reading(self) -> bool:
        """Whether it is about to compute tokens that are known already."""
        return self.missing > 1 or self.cached < self.given

    @property
    def reusable(self) -> int:
        """Tokens at the start that need not be run if they are cached; the last one's logits are always needed."""
        return len(self.ids) - 1

    def computes_as(self, other: "Sequence") -> bool:
        """Whether the same tokens come to the same in both."""
        return (self.adapter and self.adapter.key) == (other.adapter and other.adapter.key)

    def take(self, begin: int, hidden: np.ndarray, model: object) -> None:
        """What was computed, for those who want it. hidden: (n, d), of the tokens from position `begin`; model: makes
        logits of them."""

    @property
    def finished(self) -> bool:
        return self.finish_reason is not None or self.error is not None

    def draft(self, most: int, worthwhile: Callable[[list[Guess]], list[int]]) -> list[int]:
        """Up to `most` tokens that may well come next, to be verified in one step; asked for while decoding.

        worthwhile: which of the first guesses save more than they cost.
        """
        return []


class Times:
    """Seconds on the process's clock: when it was asked, when computing began, its first and its last token."""

    def __init__(self):
        self.asked = self.began = self.first = self.last = perf_counter()
        self._begun = self._spoken = False

    def begin(self) -> None:
        if not self._begun:
            self._begun = True
            self.began = self.first = self.last = perf_counter()

    def token(self) -> None:
        self.last = perf_counter()
        if not self._spoken:
            self._spoken, self.first = True, self.last

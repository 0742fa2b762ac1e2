"""Tokens on their way through the model, and the pages that hold what is computed of them."""

from collections.abc import Sequence as Tokens
from time import perf_counter


class Sequence:
    """One request, as the scheduler sees it.

    ids: tokens so far. cached: how many of them are in the cache, in `pages`; reused: those that an earlier request had
    computed. most_tokens: no more than so many will ever be cached. keeps: stays in the cache when it has finished.
    """

    keeps = False

    def __init__(self, ids: Tokens[int], most_tokens: int):
        self.ids = list(ids)
        self.most_tokens = most_tokens
        self.pages: list[int] = []
        self.cached = self.reused = 0
        self.finish_reason: str | None = None
        self.error: Exception | None = None
        self.times = Times()

    @property
    def missing(self) -> int:
        """Tokens that the cache does not hold yet: 1 while decoding."""
        return len(self.ids) - self.cached

    @property
    def finished(self) -> bool:
        return self.finish_reason is not None or self.error is not None


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

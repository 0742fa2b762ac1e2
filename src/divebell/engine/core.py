"""The engine's step: schedule, run, sample. Knows nothing of threads or text."""

from collections import deque

import numpy as np

from divebell.engine.cache import Cache, pages_for
from divebell.engine.generation import Generation
from divebell.engine.reading import Reading, not_finite
from divebell.engine.sequence import Sequence
from divebell.ops.batch import Batch

STEP_TOKENS = 512  # of one step: enough rows to use the arithmetic well, few enough that answers keep flowing
MOST_RUNNING = 64


class Core:
    """Runs sequences to their ends.

    A sequence gets all the pages it can ever need before its first step, so that no running one is ever stuck; what
    does not fit waits its turn. Finished sequences that are kept for the next turn of their conversation give way to
    waiting ones, oldest first.
    """

    def __init__(self, model: object, cache: Cache):
        self.model, self.cache = model, cache
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.kept: list[Sequence] = []

    def submit(self, sequence: Sequence, after: Sequence | None = None) -> None:
        """Queues `sequence`, whose `most_tokens` fits the cache; it takes over what it shares with the kept `after`."""
        if after in self.kept:
            self.kept.remove(after)
            self._take_over(sequence, after)
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Ends a sequence in whatever state: frees its pages, or keeps what is computed of one that `keeps`."""
        computing = sequence in self.running
        for place in (self.waiting, self.running, self.kept):
            if sequence in place:
                place.remove(sequence)
        if computing and sequence.keeps:
            self._keep(sequence)
        else:
            self._release(sequence)

    def step(self) -> None:
        """Computes up to STEP_TOKENS tokens; every generation whose tokens are all cached gains one more."""
        self._admit()
        chunks = self._schedule()
        if not chunks:
            return
        hidden = self.model.forward(_batch(chunks), self.cache.layers)
        ends = np.cumsum([count for _, count in chunks]).tolist()
        for sequence, count in chunks:
            sequence.cached += count
        self._read(chunks, ends, hidden)
        self._extend([(s, end) for (s, _), end in zip(chunks, ends, strict=True)], hidden)
        self._retire()

    def check_integrity(self) -> None:
        """Every page is free or some sequence's own."""
        self.cache.check_integrity([s.pages for place in (self.waiting, self.running, self.kept) for s in place])

    def _admit(self) -> None:
        while self.waiting and len(self.running) < MOST_RUNNING and self._make_room(self.waiting[0]):
            sequence = self.waiting.popleft()
            sequence.pages += self.cache.take(_pages_wanted(sequence))
            self.running.append(sequence)

    def _make_room(self, sequence: Sequence) -> bool:
        while _pages_wanted(sequence) > self.cache.free_pages and self.kept:
            self._release(self.kept.pop(0))
        if _pages_wanted(sequence) > self.cache.free_pages and not self.running:
            for behind in list(self.waiting)[1:]:  # nothing else could ever free the pages of their earlier turns
                self._release(behind)
        return _pages_wanted(sequence) <= self.cache.free_pages

    def _schedule(self) -> list[tuple[Sequence, int]]:
        """Sequences and how many of their tokens to compute: those that decode first, then prompts in their order."""
        chunks, room = [], STEP_TOKENS
        for sequence in sorted(self.running, key=lambda s: s.missing > 1):
            if count := min(sequence.missing, room):
                sequence.times.begin()
                chunks.append((sequence, count))
                room -= count
        return chunks

    def _read(self, chunks: list[tuple[Sequence, int]], ends: list[int], hidden: np.ndarray) -> None:
        for (sequence, count), end in zip(chunks, ends, strict=True):
            if isinstance(sequence, Reading):
                sequence.take(sequence.cached - count, hidden[end - count : end], self.model)

    def _extend(self, sequences: list[tuple[Sequence, int]], hidden: np.ndarray) -> None:
        ready = [(s, end) for s, end in sequences if isinstance(s, Generation) and not s.missing]
        if not ready:
            return
        rows = self.model.logits(np.ascontiguousarray(hidden[[end - 1 for _, end in ready]]))
        for (sequence, _), logits in zip(ready, rows, strict=True):
            if np.isfinite(logits.max()):
                sequence.extend(logits)
            else:
                sequence.error = not_finite(len(sequence.ids) - 1, self.model)

    def _retire(self) -> None:
        for sequence in [s for s in self.running if s.finished]:
            self.running.remove(sequence)
            if sequence.keeps and not sequence.error:
                self._keep(sequence)
            else:
                self._release(sequence)

    def _keep(self, sequence: Sequence) -> None:
        used = pages_for(sequence.cached)
        spare, sequence.pages = sequence.pages[used:], sequence.pages[:used]
        self.cache.give_back(spare)
        self.kept.append(sequence)

    def _take_over(self, sequence: Sequence, after: Sequence) -> None:
        shared = min(common_prefix(sequence.ids, after.ids[: after.cached]), len(sequence.ids) - 1)
        sequence.cached = sequence.reused = shared
        sequence.pages, after.pages = after.pages[: pages_for(shared)], after.pages[pages_for(shared) :]
        self._release(after)

    def _release(self, sequence: Sequence) -> None:
        self.cache.give_back(sequence.pages)
        if not sequence.finished:
            sequence.cached = sequence.reused = 0


def _pages_wanted(sequence: Sequence) -> int:
    return pages_for(sequence.most_tokens) - len(sequence.pages)


def _batch(chunks: list[tuple[Sequence, int]]) -> Batch:
    return Batch.of(
        [s.ids[s.cached : s.cached + count] for s, count in chunks],
        [s.cached for s, _ in chunks],
        [s.pages[: pages_for(s.cached + count)] for s, count in chunks],
    )


def common_prefix(a: list[int], b: list[int]) -> int:
    """How many leading tokens are the same."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))

"""The engine's step: schedule, run, sample. Knows nothing of threads or text."""

from collections import deque
from itertools import pairwise

import numpy as np

from divebell.engine.cache import Cache, pages_for
from divebell.engine.sequence import Sequence
from divebell.errors import Mismatch
from divebell.ops.batch import Batch

STEP_TOKENS = 512  # of one step: enough rows to use the arithmetic well, few enough that answers keep flowing
MOST_RUNNING = 64


class Core:
    """Runs sequences to their ends.

    A sequence gets all the pages it can ever need before its first step, so that no running one is ever stuck; what does
    not fit waits its turn. Finished sequences that are kept for the next turn of their conversation give way to waiting
    ones, oldest first.
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

    def _take_over(self, sequence: Sequence, after: Sequence) -> None:
        shared = min(common_prefix(sequence.ids, after.ids[: after.cached]), len(sequence.ids) - 1)
        sequence.cached = sequence.reused = shared
        sequence.pages, after.pages = after.pages[: pages_for(shared)], after.pages[pages_for(shared) :]
        self._release(after)

    def keep(self, sequence: Sequence) -> None:
        """Leaves a finished sequence's tokens in the cache."""
        sequence.pages, spare = sequence.pages[: pages_for(sequence.cached)], sequence.pages[pages_for(sequence.cached) :]
        self.cache.give_back(spare)
        self.kept.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Frees the pages of a sequence in whatever state; a second time does nothing."""
        for place in (self.waiting, self.running, self.kept):
            if sequence in place:
                place.remove(sequence)
        self._release(sequence)

    def _release(self, sequence: Sequence) -> None:
        self.cache.give_back(sequence.pages)
        sequence.cached = 0

    def step(self) -> None:
        """Computes up to STEP_TOKENS tokens; every sequence whose prompt is complete gains a token."""
        self._admit()
        chunks = self._schedule()
        if not chunks:
            return
        hidden = self.model.forward(self._batch(chunks), self.cache.layers)
        ends = np.cumsum([count for _, count in chunks])
        for sequence, count in chunks:
            sequence.cached += count
        ready = [(sequence, end - 1) for (sequence, _), end in zip(chunks, ends, strict=True) if not sequence.missing]
        self._sample(ready, hidden)
        self.running = [sequence for sequence in self.running if not sequence.finished]

    def _admit(self) -> None:
        while self.waiting and len(self.running) < MOST_RUNNING and self._make_room(self.waiting[0]):
            sequence = self.waiting.popleft()
            sequence.pages += self.cache.take(pages_for(sequence.most_tokens) - len(sequence.pages))
            self.running.append(sequence)

    def _make_room(self, sequence: Sequence) -> bool:
        wanted = pages_for(sequence.most_tokens) - len(sequence.pages)
        while wanted > self.cache.free_pages and self.kept:
            self._release(self.kept.pop(0))
        if wanted > self.cache.free_pages and not self.running:
            for other in self.waiting:  # nothing runs: what waits behind gives up the pages of its earlier turn
                if other is not sequence:
                    other.reused = 0
                    self._release(other)
        return wanted <= self.cache.free_pages

    def _schedule(self) -> list[tuple[Sequence, int]]:
        """Sequences and how many of their tokens to compute: those that decode first, then prompts in their order."""
        chunks, room = [], STEP_TOKENS
        for sequence in sorted(self.running, key=lambda s: s.missing > 1):
            if count := min(sequence.missing, room):
                sequence.times.begin()
                chunks.append((sequence, count))
                room -= count
        return chunks

    def _batch(self, chunks: list[tuple[Sequence, int]]) -> Batch:
        return Batch.of(
            [s.ids[s.cached : s.cached + count] for s, count in chunks],
            [s.cached for s, _ in chunks],
            [s.pages[: pages_for(s.cached + count)] for s, count in chunks],
        )

    def _sample(self, ready: list[tuple[Sequence, int]], hidden: np.ndarray) -> None:
        if not ready:
            return
        rows = self.model.logits(np.ascontiguousarray(hidden[[row for _, row in ready]]))
        for (sequence, _), logits in zip(ready, rows, strict=True):
            if not np.isfinite(logits.max()):
                sequence.error = not_finite(len(sequence.ids) - 1)
            else:
                sequence.extend(logits)
            if sequence.finished and sequence.error:
                self._release(sequence)

    def read(self, ids: "list[int] | np.ndarray", sequence: Sequence):
        """Runs `ids` through the model on a sequence of their own; yields (first position, hidden rows) by chunk."""
        sequence.pages += self.cache.take(pages_for(len(ids)))
        bounds = [*range(0, len(ids), STEP_TOKENS), len(ids)]
        for begin, end in pairwise(bounds):
            pages = sequence.pages[: pages_for(end)]
            yield begin, self.model.forward(Batch.of([ids[begin:end]], [begin], [pages]), self.cache.layers)


def common_prefix(a: list[int], b: list[int]) -> int:
    """How many leading tokens are the same."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def not_finite(position: int) -> Mismatch:
    return Mismatch(
        f"the model's logits at position {position} are not finite numbers (NaN or infinity): its weights are damaged, "
        "or overflow in this number format"
    )

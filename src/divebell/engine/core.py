"""The engine's step: schedule, run, postprocess. Knows nothing of threads or text."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

import numpy as np

from divebell.engine.adapters import Adapters
from divebell.engine.books import Books
from divebell.engine.cache import Cache, pages_for
from divebell.engine.generation import Generation
from divebell.engine.pace import Pace
from divebell.engine.prefix import PrefixTree
from divebell.engine.reading import not_finite
from divebell.engine.scheduler import Chunk, Scheduler
from divebell.engine.sequence import Sequence
from divebell.engine.store import Store
from divebell.ops.batch import Batch


class Core:
    """Runs sequences to their ends.

    clock: seconds, by which the scheduler learns what steps cost. store: keeps what memory has no room for.
    books: may be replaced; what each sequence used of the steps.
    """

    def __init__(
        self, model: object, cache: Cache, clock: Callable[[], float] = perf_counter, store: Store | None = None
    ):
        self.model, self.cache = model, cache
        self.tree = PrefixTree(cache, store)
        self.scheduler = Scheduler(self.tree, Pace())
        self.adapters = Adapters(self.tree)
        self._clock = clock
        self.books = Books()

    def submit(self, sequence: Sequence) -> None:
        """Queues `sequence`, whose `most_tokens` fits the cache."""
        self.adapters.check(sequence)
        sequence.books = self.books
        self.scheduler.submit(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Ends a sequence in whatever state; what is computed of it stays in the prefix tree."""
        self.scheduler.remove(sequence)
        self.books.close(sequence)
        self._let_go()

    def step(self) -> list[Chunk]:
        """Computes some tokens; every generation whose tokens are all cached gains one more, or several it guessed.

        Returns what was computed.
        """
        if chunks := self.scheduler.schedule():
            begin, step = self._clock(), self.books.begin()
            try:
                hidden = self._run(chunks)
                self._postprocess(chunks, hidden)
            finally:
                seconds = self._clock() - begin
                self.books.charge(step, chunks, seconds)
            self.scheduler.took(chunks, seconds)
            self._let_go()
        return chunks

    def drop_adapter(self, name: str) -> None:
        """No new sequence may have it; those that have it end with it."""
        self.adapters.drop(name)
        self._let_go()

    def _let_go(self) -> None:
        if self.adapters.leaving:
            self.adapters.let_go(s.adapter for s in (*self.scheduler.running, *self.scheduler.waiting))

    def close(self) -> None:
        """Ends all sequences, and keeps on disk what is computed, if there is a store."""
        for sequence in [*self.scheduler.running, *self.scheduler.waiting]:
            self.remove(sequence)
        self.tree.keep()
        self.books.shut()

    def check_integrity(self) -> None:
        """Raises RuntimeError where pages, users and prefixes do not add up."""
        self.tree.check_integrity(self.scheduler.running)

    def _run(self, chunks: list[Chunk]) -> np.ndarray:
        hidden = self.model.step(_batch(chunks), self.cache.layers)
        for chunk in chunks:
            chunk.sequence.cached += len(chunk.tokens)
            chunk.sequence.computed += len(chunk.tokens)
        return hidden

    def _postprocess(self, chunks: list[Chunk], hidden: np.ndarray) -> None:
        ends = np.cumsum([len(chunk.tokens) for chunk in chunks]).tolist()
        self._read(chunks, ends, hidden)
        self._extend(chunks, ends, hidden)
        for sequence in [chunk.sequence for chunk in chunks]:
            self.tree.commit(sequence)
            if sequence.finished:
                self.scheduler.remove(sequence)

    def _read(self, chunks: list[Chunk], ends: list[int], hidden: np.ndarray) -> None:
        for chunk, end in zip(chunks, ends, strict=True):
            count = len(chunk.tokens)
            with _alone(chunk.sequence):
                chunk.sequence.take(chunk.sequence.cached - count, hidden[end - count : end], self.model)

    def _extend(self, chunks: list[Chunk], ends: list[int], hidden: np.ndarray) -> None:
        ready = [(c, end) for c, end in zip(chunks, ends, strict=True) if _speaks(c)]
        if not ready:
            return
        rows = [row for chunk, end in ready for row in range(end - 1 - len(chunk.drafts), end)]
        logits = self.model.logits(np.ascontiguousarray(hidden[rows]))
        for chunk, _ in ready:
            own, logits = np.split(logits, [1 + len(chunk.drafts)])
            with _alone(chunk.sequence):
                self._take(chunk, own)

    def _take(self, chunk: Chunk, logits: np.ndarray) -> None:
        """Tokens from rows of logits, as far as the drafts that the rows were computed with are what is chosen."""
        sequence = chunk.sequence
        sequence.drafted += len(chunk.drafts)
        for row, guess in zip(logits, [*chunk.drafts, None], strict=True):
            if not np.isfinite(row.max()):
                sequence.error = not_finite(len(sequence.ids) - 1, self.model)
                return
            sequence.extend(row)
            if sequence.finished or sequence.ids[-1] != guess:
                break
            sequence.accepted += 1
        sequence.cached = min(sequence.cached, len(sequence.ids) - 1)


@contextmanager
def _alone(sequence: Sequence) -> Iterator[None]:
    """What goes wrong ends this sequence; the others of the step go on."""
    try:
        yield
    except Exception as problem:
        sequence.error = problem


def _speaks(chunk: Chunk) -> bool:
    """Whether the next token of the sequence is due."""
    sequence = chunk.sequence
    return isinstance(sequence, Generation) and sequence.missing == -len(chunk.drafts) and not sequence.finished


def _batch(chunks: list[Chunk]) -> Batch:
    return Batch.of(
        [chunk.tokens for chunk in chunks],
        [chunk.sequence.cached for chunk in chunks],
        [c.sequence.pages[: pages_for(c.sequence.cached + len(c.tokens))] for c in chunks],
        tuple(c.sequence.adapter for c in chunks),
    )

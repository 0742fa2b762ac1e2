"""Who computes what in the next step, and who has pages.

- A request is admitted in the order of arrival, as soon as there are pages for the tokens that it has so far and a page
  for what follows, beside as much for each running one. It waits while a running one computes tokens that both begin
  with; others may pass it meanwhile.
- When pages run out, the latest arrival gives up its own and goes back to its place in the line. What it has computed
  stays in the prefix tree until somebody needs the room. The earliest can always go on, and each becomes the earliest.
- Each decoding sequence gets its token in each step. What room `Pace` leaves for prompts is shared evenly.
"""

import sys
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import ceil
from operator import attrgetter

from divebell.engine.cache import PAGE, pages_for
from divebell.engine.pace import STEP_TOKENS, Pace
from divebell.engine.prefix import PrefixTree, common_prefix
from divebell.engine.reading import ROWS
from divebell.engine.sequence import Sequence
from divebell.engine.speculative import Profit

MOST_RUNNING = 64
PAGES_AT_ONCE = 8  # from disk in a step beside sequences that are decoding
_ARRIVAL = attrgetter("arrival")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens of one sequence to run. decodes: it is past its prompt. drafts: guesses at the end of `tokens`."""

    sequence: Sequence
    tokens: list[int]
    decodes: bool
    drafts: list[int]


class Scheduler:
    """waiting, running: in the order of arrival."""

    def __init__(self, tree: PrefixTree, pace: Pace):
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self._tree, self._pace, self._profit = tree, pace, Profit()
        self._arrivals = count()

    def submit(self, sequence: Sequence) -> None:
        """Queues a sequence whose `most_tokens` fit the cache."""
        sequence.arrival = next(self._arrivals)
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Ends a sequence in whatever state."""
        if sequence in self.running:
            self.running.remove(sequence)
            self._tree.release(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def schedule(self) -> list[Chunk]:
        """What the next step computes, with pages for all of it."""
        self._admit()
        single = self._single()
        chunks = sorted([*single, *self._several(single)], key=lambda chunk: chunk.sequence.arrival)
        return [chunk for chunk in chunks if self._has_pages(chunk)]

    def took(self, chunks: list[Chunk], seconds: float) -> None:
        """Learns from how long a step took."""
        decoding, drafts = _decoding(chunks), sum(len(chunk.drafts) for chunk in chunks)
        if all(chunk.decodes for chunk in chunks):
            self._profit.took(len(chunks), drafts, seconds)
        if not drafts:
            self._pace.took(decoding, sum(len(chunk.tokens) for chunk in chunks) - decoding, seconds)

    def _admit(self) -> None:
        for sequence in list(self.waiting):
            if len(self.running) == MOST_RUNNING or (self.running and not self._fits(sequence)):
                break
            if not self._follows(sequence):
                self.waiting.remove(sequence)
                insort(self.running, sequence, key=_ARRIVAL)
                self._tree.attach(sequence)
        self._settle()

    def _settle(self) -> None:
        """What is cached comes before what is computed; from disk, only so much at once that nobody's tokens wait."""
        most = PAGES_AT_ONCE if any(s.settled and not s.reading for s in self.running) else sys.maxsize
        for sequence in self.running:
            if not sequence.settled:
                self._tree.settle(sequence, most)
                if sequence.settled and sequence.reused is None:
                    sequence.reused = sequence.cached

    def _fits(self, sequence: Sequence) -> bool:
        cached, idle = self._tree.common(sequence)
        promised = sum(_wanted_pages(s) - len(s.pages) for s in self.running)
        return _wanted_pages(sequence) - cached // PAGE <= self._tree.available - idle - promised

    def _follows(self, sequence: Sequence) -> bool:
        """Whether a running one is about to compute tokens that this one begins with too."""
        alike = [s for s in self.running if s.reading and s.computes_as(sequence)]
        shared = [min(common_prefix(s.ids, sequence.ids), sequence.reusable) for s in alike]
        return bool(shared) and max(shared) > self._tree.common(sequence)[0]

    def _single(self) -> list[Chunk]:
        """Those whose next token is due after one more; while no prompt is read, with guesses of those that follow."""
        sequences = [s for s in self.running if s.settled and s.missing == 1]
        room = 0 if len(sequences) < len(self.running) else max(ROWS - len(sequences), 0)
        chunks, drafted = [], 0
        for sequence in sequences:
            worthwhile = partial(self._profit.worthwhile, requests=len(sequences), before=drafted)
            drafts = sequence.draft(min(room - drafted, sequence.most_tokens - len(sequence.ids) - 1), worthwhile)
            chunks.append(Chunk(sequence, [sequence.ids[-1], *drafts], not sequence.reading, drafts))
            drafted += len(drafts)
        return chunks

    def _several(self, single: list[Chunk]) -> Iterator[Chunk]:
        taken = sum(len(chunk.tokens) for chunk in single)
        room = min(self._pace.prompt_tokens(_decoding(single)), STEP_TOKENS - taken)
        sequences = sorted([s for s in self.running if s.settled and s.missing > 1][:room], key=attrgetter("missing"))
        for done, sequence in enumerate(sequences):
            share = ceil(room / (len(sequences) - done))
            tokens = sequence.ids[sequence.cached : sequence.cached + min(sequence.missing, share)]
            yield Chunk(sequence, tokens, False, [])
            room -= len(tokens)

    def _has_pages(self, chunk: Chunk) -> bool:
        """Takes them from the latest arrivals if it must; False where the chunk's own sequence had to give up."""
        while chunk.sequence in self.running:
            if self._tree.extend(chunk.sequence, chunk.sequence.cached + len(chunk.tokens)):
                chunk.sequence.times.begin()
                return True
            self._preempt(self.running[-1])
        return False

    def _preempt(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._tree.release(sequence)
        insort(self.waiting, sequence, key=_ARRIVAL)


def _decoding(chunks: list[Chunk]) -> int:
    return sum(len(chunk.tokens) for chunk in chunks if chunk.decodes)


def _wanted_pages(sequence: Sequence) -> int:
    """Of the tokens so far and a page more, but no more than it can ever fill."""
    return pages_for(min(len(sequence.ids) + PAGE, sequence.most_tokens))

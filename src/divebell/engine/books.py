"""Who used how much of each step: its seconds and its energy, shared out by the work that each sequence caused."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from time import perf_counter, time
from typing import Any


@dataclass(slots=True)
class Spent:
    """A sequence's share of the steps that computed it, or idle time. closed: whether it has been written down."""

    seconds: float = 0.0
    joules: float = 0.0
    closed: bool = False


class Meter:
    """read: joules that the machine has taken since some moment. May be shared by engines whose steps overlap.

    What is read between two events is shared evenly among the steps that run between them; without any it is `idle`.
    So all that was read is handed out: the sum of steps and `idle` is the machine's total. clock: seconds. since: when
    idle time was last asked for, in seconds of the Unix epoch.
    """

    def __init__(self, read: Callable[[], float], clock: Callable[[], float] = perf_counter):
        self._read, self._clock, self._lock = read, clock, Lock()
        self._last, self._seen, self.since = read(), clock(), time()
        self._running: dict[int, float] = {}
        self._idle, self._number = Spent(), 0

    def begin(self) -> int:
        """A step begins; what `end` wants."""
        with self._lock:
            self._advance()
            self._number += 1
            self._running[self._number] = 0.0
            return self._number

    def end(self, step: int) -> float:
        """The step's joules."""
        with self._lock:
            self._advance()
            return self._running.pop(step)

    def take_idle(self) -> Spent:
        """What went outside of steps since the last time that this was asked."""
        with self._lock:
            self._advance()
            idle, self._idle, self.since = self._idle, Spent(), time()
            return idle

    def _advance(self) -> None:
        now, seen = self._read(), self._clock()
        spent, self._last = max(now - self._last, 0.0), now
        seconds, self._seen = seen - self._seen, seen
        if not self._running:
            self._idle.joules += spent
            self._idle.seconds += seconds
        for step in self._running:
            self._running[step] += spent / len(self._running)


class Books:
    """Shares of one engine's steps. weigh: work of `tokens` new tokens with `before` tokens before them.

    ended: is told of each sequence that has ended or was removed, once, after its last step was charged.
    bill: what a sequence's answer says of its cost. shut: the engine is closed.
    """

    def __init__(
        self,
        meter: Meter | None = None,
        weigh: Callable[[int, int], float] = lambda tokens, before: float(tokens),
        ended: Callable[[Any], None] = lambda sequence: None,
        bill: Callable[[Any], Mapping[str, object] | None] = lambda sequence: None,
        shut: Callable[[], None] = lambda: None,
    ):
        self._meter, self._weigh, self._ended, self.bill, self.shut = meter, weigh, ended, bill, shut

    def begin(self) -> int:
        return self._meter.begin() if self._meter else 0

    def charge(self, step: int, chunks: Sequence[Any], seconds: float) -> None:
        """Of a step that is over: `chunks` are what it computed."""
        joules = self._meter.end(step) if self._meter else 0.0
        work = [self._weigh(len(c.tokens), max(c.sequence.cached - len(c.tokens), 0)) for c in chunks]
        whole = sum(work)
        for chunk, own in zip(chunks, work, strict=True):
            share, spent = own / whole, chunk.sequence.spent
            spent.seconds += share * seconds
            spent.joules += share * joules
        for chunk in chunks:
            if chunk.sequence.finished:
                self.close(chunk.sequence)

    def close(self, sequence: Any) -> None:
        """Nothing more will be computed of it."""
        if not sequence.spent.closed and sequence.computed:
            sequence.spent.closed = True
            self._ended(sequence)


def weighing(config: Any, active: int) -> Callable[[int, int], float]:
    """Multiply-adds of a model's step: active weights, and attention with every key (absorbed, where latents are)."""
    latent = getattr(config, "latent", None)
    per_key = latent.heads * (2 * latent.rank + latent.rope) if latent else 2 * config.heads * config.head_dim
    return lambda tokens, before: tokens * (active + config.layers * per_key * (before + (tokens + 1) / 2))

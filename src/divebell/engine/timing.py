"""Timing a model below sampling: whole prompts and decoding, at any depth of context, for any number of sequences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from divebell.config import available_memory, format_bytes
from divebell.engine.cache import PAGE, Cache, pages_for
from divebell.engine.pace import STEP_TOKENS
from divebell.engine.traffic import Traffic, Work
from divebell.errors import OverBudget
from divebell.models import cache_format
from divebell.ops.batch import Batch

_ENOUGH_SECONDS, _MOST_RUNS = 10.0, 5
_CACHE_STD = 0.5


@dataclass(frozen=True, slots=True)
class Timing:
    """seconds: of one run, the median: of a whole prompt, or of one token of each sequence. runs: how many there were.

    ops: seconds spent in each op in a run of its own, with everything outside them as "other".
    """

    kind: str
    tokens: int
    depth: int
    batch: int
    seconds: float
    runs: int
    work: Work
    ops: dict[str, float]

    @property
    def tokens_per_s(self) -> float:
        return (self.tokens if self.kind == "prompt" else self.batch) / self.seconds


class Watch:
    """The ops, noting which experts were chosen, and while `timed` how long each op takes."""

    def __init__(self, ops: ModuleType):
        self.chosen: list[np.ndarray] = []
        self.seconds: dict[str, float] = {}
        self.timed = False
        public = {name: value for name, value in vars(ops).items() if not name.startswith("_")}
        self.ops = SimpleNamespace(**{name: self._watched(name, value) for name, value in public.items()})

    def _watched(self, name: str, op: Any) -> Any:
        if not callable(op) or isinstance(op, type):
            return op

        def watched(*arguments, **options):
            begin = perf_counter() if self.timed else 0.0
            result = op(*arguments, **options)
            if self.timed:
                self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - begin
            if name == "route":
                self.chosen.append(result[0])
            return result

        return watched


class Bench:
    """load: makes the model from ops. longest, batch: tokens of the longest context, sequences at once.

    The cache below the depth that is timed holds random numbers: what attention costs does not depend on them.
    """

    def __init__(self, load: Callable[[Any], Any], ops: ModuleType, traffic: Callable[[Any], Traffic]):
        self.watch = Watch(ops)
        self.model = load(self.watch.ops)
        self.traffic = traffic(self.model)
        self._random = np.random.Generator(np.random.SFC64(0))

    def cache_bytes(self, longest: int, batch: int) -> int:
        """Of `batch` sequences of `longest` tokens each."""
        widths = sum(width for layer in self.model.cache_layout for width in layer.values())
        return batch * pages_for(longest) * PAGE * widths * self.model.cache_dtype.itemsize

    def reserve(self, longest: int, batch: int) -> None:
        """Room for `batch` sequences of `longest` tokens each; fills it, and touches the weights once.

        Raises OverBudget where the machine has less memory free.
        """
        needed, free = self.cache_bytes(longest, batch), available_memory()
        if needed > free:
            sizes = f"{format_bytes(needed)} and {format_bytes(free)} are free"
            raise OverBudget(f"the cache would take {sizes}; time a smaller depth or batch")
        self._per_sequence = pages_for(longest)
        self.cache = Cache(self.model.cache_layout, self.model.cache_dtype, batch * self._per_sequence)
        self._fill()
        self._compute(*self._batch([(min(longest, 64), 0)]), self.model.forward)
        self._routed = bool(self.watch.chosen)

    def prompt(self, tokens: int, depth: int) -> Timing:
        """A prompt on top of `depth` tokens, in steps as the engine takes them, up to its last token's logits."""
        steps = [(min(STEP_TOKENS, tokens - done), depth + done) for done in range(0, tokens, STEP_TOKENS)]
        return self._timing("prompt", tokens, depth, 1, [[step] for step in steps], most=_MOST_RUNS)

    def decode(self, tokens: int, depth: int, batch: int) -> Timing:
        """`tokens` steps of one token for each of `batch` sequences, starting at `depth`."""
        runs = [[(1, depth + step)] * batch for step in range(tokens)]
        timings = [self._timed([run]) for run in runs]
        seconds = median(seconds for seconds, _ in timings)
        work = timings[len(timings) // 2][1]
        return Timing("decode", tokens, depth, batch, seconds, tokens, work, self._profile([runs[0]]))

    def _timing(self, kind: str, tokens: int, depth: int, batch: int, steps: list, most: int) -> Timing:
        seconds: list[float] = []
        while not seconds or (len(seconds) < most and sum(seconds) < _ENOUGH_SECONDS):
            took, work = self._timed(steps)
            seconds.append(took)
        return Timing(kind, tokens, depth, batch, median(seconds), len(seconds), work, self._profile(steps))

    def _timed(self, steps: Sequence[Sequence[tuple[int, int]]]) -> tuple[float, Work]:
        """Seconds of all steps, and the work in them, which is counted outside of the time."""
        total, work = 0.0, Work()
        for chunks in steps:
            self.watch.chosen.clear()
            batch, ends = self._batch(chunks)
            total += self._compute(batch, ends, self.model.step)
            if self._routed and not self.watch.chosen:  # done again without the ops that are watched
                self._compute(batch, ends, self.model.forward)
            work += self.traffic.of(chunks, self.watch.chosen)
        return total, work

    def _profile(self, steps: Sequence[Sequence[tuple[int, int]]]) -> dict[str, float]:
        self.watch.seconds, self.watch.timed = {}, True
        step = partial(self.model.step, seconds=self.watch.seconds)
        total = sum(self._compute(*self._batch(chunks), step) for chunks in steps)
        self.watch.timed = False
        ops = dict(sorted(self.watch.seconds.items(), key=lambda item: -item[1]))
        return ops | {"other": total - sum(ops.values())}

    def _compute(self, batch: Batch, ends: np.ndarray, forward: Callable) -> float:
        begin = perf_counter()
        hidden = forward(batch, self.cache.layers)
        self.model.logits(np.ascontiguousarray(hidden[ends]))
        return perf_counter() - begin

    def _batch(self, chunks: Sequence[tuple[int, int]]) -> tuple[Batch, np.ndarray]:
        """With the rows of the sequences' last tokens."""
        ids = [self._random.integers(0, self.model.config.vocab_size, new, np.int32) for new, _ in chunks]
        pages = [
            list(range(own * self._per_sequence, own * self._per_sequence + pages_for(new + before)))
            for own, (new, before) in enumerate(chunks)
        ]
        ends = np.cumsum([new for new, _ in chunks]) - 1
        return Batch.of(ids, [before for _, before in chunks], pages), ends

    def _fill(self) -> None:
        for layer in self.cache.layers:
            for pages in layer.values():
                pages[:] = self._page(pages.shape[2], pages.dtype)

    def _page(self, width: int, dtype: np.dtype) -> np.ndarray:
        """Random numbers; of bytes, whose scales lie behind them, too."""
        if dtype != np.uint8:
            return (self._random.standard_normal((PAGE, width)) * _CACHE_STD).astype(dtype)
        page = self._random.integers(1, 256, (PAGE, width), np.uint8)
        page.reshape(-1)[-PAGE * cache_format.SCALES :].view(np.float32)[:] = _CACHE_STD / 73  # their own deviation
        return page

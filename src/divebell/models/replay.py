"""Steps of a few tokens, done again without Python.

A token's ops are the same for every token of a model, but for the numbers in its arrays. What Python does between them
costs as much as the smaller ones do, so a step is recorded once, and run again over arrays of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from divebell.models.rope import RopeTable
from divebell.ops.batch import Batch

MOST_TOKENS = 4  # of a step: with more, the ops cost much more than what lies between them
MOST_KEPT = 4
_LEAST_PAGES = 16

Pages = Sequence[dict[str, np.ndarray]]
Forward = Callable[[Batch, Pages], np.ndarray]


@dataclass(frozen=True, slots=True)
class _Step:
    """One recording, and the arrays that it reads and writes. rows: RoPE's, which grow to other ones."""

    recording: Any
    batch: Batch
    cache: Pages
    rows: np.ndarray
    hidden: np.ndarray

    def fits(self, batch: Batch, cache: Pages, rows: np.ndarray) -> bool:
        counts = len(self.batch.ids) == len(batch.ids) and len(self.batch.lengths) == len(batch.lengths)
        room = self.batch.pages.shape[1] >= batch.pages.shape[1]
        return counts and room and self.cache is cache and self.rows is rows

    def run(self, batch: Batch, seconds: dict[str, float] | None) -> np.ndarray:
        _copy(batch, self.batch)
        if seconds is None:
            self.recording.run()
        else:
            for op, took in self.recording.timed():
                seconds[op] = seconds.get(op, 0.0) + took
        return self.hidden.copy()


class Replay:
    """rope: whose rows the layers read."""

    def __init__(self, new_recording: Callable[[], Any], rope: RopeTable):
        self._new_recording, self._rope = new_recording, rope
        self._steps: list[_Step] = []  # the last used first

    def __call__(
        self, forward: Forward, batch: Batch, cache: Pages, seconds: dict[str, float] | None = None
    ) -> np.ndarray:
        """`forward` of them, the same each time. seconds: gains those of each op that is done again."""
        self._rope.reach(int(batch.lengths.max()))
        step = next((step for step in self._steps if step.fits(batch, cache, self._rope.rows)), None)
        if step is None:
            return self._record(forward, batch, cache)
        self._use(step)
        return step.run(batch, seconds)

    def _record(self, forward: Forward, batch: Batch, cache: Pages) -> np.ndarray:
        own, recording = _with_room(batch), self._new_recording()
        with recording:
            hidden = forward(own, cache)
        self._use(_Step(recording, own, cache, self._rope.rows, hidden))
        return hidden.copy()

    def _use(self, step: _Step) -> None:
        others = [other for other in self._steps if other is not step]
        self._steps = [step, *others][:MOST_KEPT]


def _with_room(batch: Batch) -> Batch:
    """A copy, with room for sequences that grow."""
    sequences, pages = batch.pages.shape
    width = max(_LEAST_PAGES, 1 << (pages - 1).bit_length())
    own = [np.empty_like(getattr(batch, name)) for name in _ARRAYS if name != "pages"]
    copy = Batch(*own, np.full((sequences, width), -1, np.int32))
    _copy(batch, copy)
    return copy


def _copy(source: Batch, target: Batch) -> None:
    for name in _ARRAYS:
        values = getattr(source, name)
        getattr(target, name)[..., : values.shape[-1]] = values


_ARRAYS = [field.name for field in fields(Batch) if field.name != "adapters"]

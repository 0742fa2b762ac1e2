"""What a model is doing right now, against what the machine could do."""

import time
from dataclasses import dataclass

from divebell.serve.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters of a model at one moment. at, seconds, floor: of the clock, within steps, what these take at least."""

    at: float
    seconds: float
    floor: float
    computed: float

    @classmethod
    def of(cls, metrics: Metrics, name: str, at: float | None = None) -> "Reading":
        def value(metric: str) -> float:
            return metrics.registry.get_sample_value(f"divebell_{metric}", {"model": name}) or 0.0

        at = time.monotonic() if at is None else at
        return cls(at, value("step_seconds_total"), value("floor_seconds_total"), value("computed_tokens_total"))


@dataclass(frozen=True, slots=True)
class Pace:
    """tokens_per_second: read and written, since the reading before. of_floor: the least time in which the steps could
    have read the weights, over the time they took; None where nothing was computed or the machine was not measured."""

    tokens_per_second: float
    of_floor: float | None

    @classmethod
    def between(cls, before: Reading, now: Reading) -> "Pace":
        passed, busy, floor = now.at - before.at, now.seconds - before.seconds, now.floor - before.floor
        rate = (now.computed - before.computed) / passed if passed > 0 else 0.0
        return cls(rate, floor / busy if busy > 0 and floor > 0 else None)

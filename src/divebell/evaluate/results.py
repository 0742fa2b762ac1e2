"""What a run comes to: scores with intervals, the published figure beside them, what the answers took."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from divebell.evaluate import code
from divebell.evaluate.cost import COUNTED
from divebell.evaluate.intervals import Difference, Interval, difference, interval
from divebell.evaluate.journal import Row
from divebell.evaluate.published import Published, published
from divebell.evaluate.tasks import Benchmark

_PASSES = (10, 100)  # usual ones


@dataclass(frozen=True, slots=True)
class Score:
    """metric: with the way in which an answer was read, where there are several. share: whether 1 is all right."""

    metric: str
    interval: Interval
    share: bool

    def written(self, value: float) -> str:
        """Shares in %."""
        return f"{value * 100:.1f}" if self.share else f"{value:.4g}"


@dataclass(frozen=True, slots=True)
class Result:
    """Of one model on one benchmark. questions: answered, of so many; samples: answers to each.

    scores: the headline's first. cost: sums of what the answers took; None for what was not measured.
    parts: the headline's value for each of lm-eval's tasks in the benchmark, with the number of questions.
    """

    benchmark: str
    questions: int
    of: int
    samples: int
    scores: list[Score]
    published: list[Published]
    cost: dict[str, float | None]
    parts: dict[str, tuple[float, int]]


def result(benchmark: Benchmark, rows: Sequence[Row], model: str, limit: int | None) -> Result:
    """rows: at least one. model: its names, to find what is published of it."""
    of = len(benchmark.questions[:limit])
    metrics = ordered(rows[0]["scores"])
    scores = [_score(metric, rows, _aggregate(benchmark, metric)) for metric in metrics]
    questions = {(row["task"], row["id"]) for row in rows}
    most = max(row["sample"] for row in rows) + 1
    scores += _passes(rows, most) if code.METRIC in metrics else []
    found = published(model, benchmark.name)
    return Result(benchmark.name, len(questions), of, most, scores, found, _costs(rows), _parts(rows, metrics[0]))


def ordered(metrics: Mapping[str, Any]) -> list[str]:
    """The headline first: where an answer is looked for anywhere in the text, that, as published figures do it."""
    return sorted(metrics, key=lambda metric: "flexible-extract" not in metric)


def by_question(rows: Sequence[Row], metric: str) -> dict[tuple, Any]:
    """(task, row) -> score; of several samples their mean."""
    each = _samples(rows, metric)
    return {key: own[0] if len(own) == 1 else sum(own) / len(own) for key, own in each.items()}


def _samples(rows: Sequence[Row], metric: str) -> dict[tuple, list]:
    found: dict[tuple, list] = {}
    for row in rows:
        found.setdefault((row["task"], row["id"]), []).append(row["scores"][metric])
    return found


def headline(rows: Sequence[Row]) -> Interval:
    """Of the first metric's mean."""
    return interval(list(by_question(rows, ordered(rows[0]["scores"])[0]).values()))


def compared(first: Sequence[Row], second: Sequence[Row]) -> Difference | None:
    """Of the headline on the questions that both answered; None where there are none."""
    if not first or not second:
        return None
    metric = ordered(first[0]["scores"])[0]
    ours, theirs = by_question(first, metric), by_question(second, metric)
    both = [key for key in ours if key in theirs]
    return difference([ours[key] for key in both], [theirs[key] for key in both]) if both else None


def _score(metric: str, rows: Sequence[Row], aggregate: Callable | None) -> Score:
    values = list(by_question(rows, metric).values())
    share = aggregate is None and all(0 <= value <= 1 for value in values)
    return Score(metric, interval(values, aggregate), share)


def _passes(rows: Sequence[Row], samples: int) -> list[Score]:
    """pass@k beyond pass@1, of the problems that have as many answers."""
    each = _samples(rows, code.METRIC).values()
    scores = []
    for k in sorted({k for k in (*_PASSES, samples) if 1 < k <= samples}):
        if values := [code.pass_at(k, own) for own in each if len(own) >= k]:
            scores.append(Score(f"pass@{k}", interval(values), True))
    return scores


def _aggregate(benchmark: Benchmark, metric: str) -> Callable | None:
    """What lm-eval makes one figure with; None for the mean."""
    from lm_eval.api.metrics import mean

    found = benchmark.tasks[0].aggregation().get(metric.split(",")[0], mean)
    return None if found is mean else found


def _costs(rows: Sequence[Row]) -> dict[str, float | None]:
    return {name: _sum([row[name] for row in rows]) for name in COUNTED}


def _sum(values: list) -> float | None:
    return None if None in values else sum(values)


def _parts(rows: Sequence[Row], metric: str) -> dict[str, tuple[float, int]]:
    values: dict[str, list] = {}
    for (task, _), value in by_question(rows, metric).items():
        values.setdefault(task, []).append(value)
    if len(values) == 1 or not all(isinstance(value, int | float) for own in values.values() for value in own):
        return {}
    return {task: (sum(own) / len(own), len(own)) for task, own in sorted(values.items())}

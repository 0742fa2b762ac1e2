"""A run: which questions are asked, in which order, and when it is enough."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice, zip_longest
from math import inf
from typing import Any

from divebell.evaluate.journal import Journal, Row
from divebell.evaluate.model import Answered, Answerer
from divebell.evaluate.question import Manner, Question, question
from divebell.evaluate.results import headline
from divebell.evaluate.tasks import Benchmark

LEAST = 30  # answers before an interval is trusted to end a run
WITH_BUDGET = 16  # questions at once: what is under way when the time is up is lost, and of long answers that is most
MOST_REFUSED = 8  # one after the other: then it is not the questions that a server refuses
_LONGEST = 2000  # characters of an answer that are kept


@dataclass(frozen=True, slots=True)
class Plan:
    """limit: the first so many questions of each benchmark. samples: answers to each question. budget: seconds.
    within: a benchmark is done when its interval is at most so much to either side.

    With a budget or `within`, questions come in random order, so that those that were asked stand for the others.
    """

    limit: int | None = None
    samples: int = 1
    budget: float | None = None
    within: float | None = None

    @property
    def sampled(self) -> bool:
        return self.budget is not None or self.within is not None


Asked = tuple[Benchmark, Any, int, int]  # of which benchmark, task, row, sample


def order(benchmarks: list[Benchmark], plan: Plan) -> list[Asked]:
    """One benchmark after the other; sampled, in turn, so that none is left out when the time is up."""
    each = [_questions(benchmark, plan) for benchmark in benchmarks]
    if not plan.sampled:
        return [asked for own in each for asked in own]
    for own in each:
        random.Random(0).shuffle(own)
    return [asked for asked in chain.from_iterable(zip_longest(*each)) if asked]


def _questions(benchmark: Benchmark, plan: Plan) -> list[Asked]:
    rows = benchmark.questions[: plan.limit]
    return [(benchmark, task, row, sample) for task, row in rows for sample in range(plan.samples)]


class Run:
    """rows: of each benchmark's name, the answers so far, those of an earlier run with the same settings included.

    refused: questions that the model's server did not take, while it answered others.
    told: is called after each answer.
    """

    def __init__(self, model: Answerer, manner: Manner, journal: Journal, told: Callable[["Run"], None]):
        self._model, self._manner, self._journal, self._told = model, manner, journal, told
        self.rows: dict[str, dict[tuple, Row]] = {}
        self.refused: dict[tuple, Row] = {}
        self._held: list[Answered] = []  # refused ones, until an answer shows that others are taken
        self.found, self.asked = 0, 0
        self._of: dict[tuple, str] = {}

    def go(self, benchmarks: list[Benchmark], plan: Plan) -> None:
        """What was answered is in the journal whatever happens. Raises EndpointError where a server refuses all."""
        self.rows = {benchmark.name: {} for benchmark in benchmarks}
        end = inf if plan.budget is None else time.monotonic() + plan.budget
        enough = _Enough(plan.within)
        most = min(self._model.most, WITH_BUDGET) if plan.budget else self._model.most
        waiting = self._unanswered(order(benchmarks, plan), enough)
        try:
            under_way = self._fill(waiting, most)
            while under_way and time.monotonic() < end:
                for answered in self._model.finished(end):
                    under_way -= 1
                    self._take(answered)
                under_way += self._fill(waiting, most - under_way)
            self._settle()
        finally:
            self._model.close()

    def _unanswered(self, wanted: list[Asked], enough: "_Enough") -> Iterator[Question]:
        for benchmark, task, row, sample in wanted:
            if enough.reached(benchmark.name, self.rows[benchmark.name]):
                continue
            made = question(task, row, sample, self._manner)
            self._of[made.key] = benchmark.name
            known = self._journal.find(made.key, made.digest)
            if known is None:
                yield made
            elif "refused" in known:
                self.refused[made.key] = known
            else:
                self.found += 1
                self.rows[benchmark.name][made.key] = known

    def _fill(self, waiting: Iterator[Question], room: int) -> int:
        begun = 0
        for made in islice(waiting, room):
            self._model.begin(made)
            begun += 1
        return begun

    def _take(self, answered: Answered) -> None:
        if answered.refused:
            self._held.append(answered)
            if len(self._held) == MOST_REFUSED:
                raise answered.refused
            return
        made = answered.question
        told = {"scores": made.scores(answered.responses), "answer": _short(answered.responses)}
        self.rows[self._of[made.key]][made.key] = self._keep(answered, told)
        self.asked += 1
        self._told(self)
        self._settle()

    def _settle(self) -> None:
        if self._held and not any(self.rows.values()):
            raise self._held[0].refused
        for answered in self._held:
            self.refused[answered.question.key] = self._keep(answered, {"scores": {}, "refused": str(answered.refused)})
        self._held = []

    def _keep(self, answered: Answered, told: Row) -> Row:
        made = answered.question
        task, row, sample = made.key
        kept = {"task": task, "id": row, "sample": sample, "digest": made.digest, **told, **asdict(answered.cost)}
        self._journal.add(kept)
        return kept


class _Enough:
    """Whether a benchmark's interval is narrow enough; looked at again when there are a tenth more answers."""

    def __init__(self, within: float | None):
        self._within = within
        self._next: dict[str, int] = {}
        self._reached: set[str] = set()

    def reached(self, name: str, rows: dict[tuple, Row]) -> bool:
        if self._within is None or len(rows) < self._next.get(name, LEAST):
            return name in self._reached
        self._next[name] = len(rows) + max(len(rows) // 10, 1)
        if headline(list(rows.values())).half_width <= self._within:
            self._reached.add(name)
        return name in self._reached


def _short(responses: list[Any]) -> list[Any]:
    return [one[-_LONGEST:] if isinstance(one, str) else one for one in responses]

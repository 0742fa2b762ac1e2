"""What rows of answers come to."""

from types import SimpleNamespace

import pytest

from divebell.evaluate.cost import COUNTED
from divebell.evaluate.results import result


def row(id: int, sample: int, passed: float) -> dict:
    return {"task": "t", "id": id, "sample": sample, "scores": {"pass@1": passed}} | dict.fromkeys(COUNTED, 1)


def test_several_answers_to_a_problem_give_pass_at_k():
    task = SimpleNamespace(aggregation=dict)
    benchmark = SimpleNamespace(name="humaneval", questions=[(task, 0), (task, 1)], tasks=[task])
    rows = [row(0, sample, sample < 3) for sample in range(12)] + [row(1, sample, 0.0) for sample in range(10)]
    found = result(benchmark, rows, "m", None)
    assert [(one.metric, one.share) for one in found.scores] == [("pass@1", True), ("pass@10", True), ("pass@12", True)]
    once, tenth, all_of_them = (one.interval.value for one in found.scores)
    assert once == pytest.approx((3 / 12 + 0) / 2)
    assert tenth == pytest.approx((1 - 0 / 66 + 0) / 2)  # no choice of 10 of the 12 leaves out 3
    assert all_of_them == 1  # the second problem has no 12 answers
    assert found.cost["prompt_tokens"] == 22

"""What a run asks, and when it ends."""

import time

import pytest

from divebell.evaluate.question import Manner
from divebell.evaluate.run import WITH_BUDGET, Plan
from divebell.evaluate.scoring import score
from divebell.evaluate.tasks import benchmarks


class Silent:
    """Takes questions and answers none; where nothing ends its waiting, it is interrupted."""

    name, most, identity, chat_template = "silent", 96, {}, None

    def __init__(self):
        self.taken = 0

    def begin(self, question):
        self.taken += 1

    def finished(self, until):
        if until == float("inf"):
            raise KeyboardInterrupt
        time.sleep(max(until - time.monotonic(), 0))
        return iter(())

    def close(self):
        pass


@pytest.mark.parametrize(("budget", "taken"), [(0.05, WITH_BUDGET), (None, Silent.most)])
def test_with_a_budget_few_questions_are_under_way_when_the_time_is_up(rows, tmp_path, budget, taken):
    model = Silent()
    plan = Plan(samples=40, budget=budget)
    outcome = score(model, benchmarks(["gsm8k"], rows, None), Manner(), plan, tmp_path, lambda _: None)
    assert (model.taken, outcome.results) == (taken, [])

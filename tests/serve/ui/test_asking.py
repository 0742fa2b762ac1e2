"""The line under an answer."""

from divebell.serve.ui.asking import told

TOOK = {"prompt_tokens": 40, "cached_tokens": 10, "completion_tokens": 1200, "tokens_per_second": 20.0, "seconds": 61.5}
COST = {"joules": 12.345, "uncertainty": 0.5, "grams_co2": 0.00123, "all_in_dollars": 4.2e-7}
LINE = "1,200 tokens at 20.0/s · prompt 40 tokens, 25 % cached · 61.50 s"


def test_what_an_answer_took_and_cost():
    assert told(TOOK | COST) == f"{LINE} · 12.3 J ± 50 %, 0.0012 g CO₂, $4.2e-07"


def test_what_was_not_counted_is_left_out():
    assert told(TOOK) == LINE
    assert told(TOOK | {"tokens_per_second": 0.0}).startswith("1,200 tokens · prompt")

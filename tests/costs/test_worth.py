"""Own, rent or both: the arithmetic of the verdict."""

import pytest

from divebell.costs import worth
from divebell.costs.prices import price
from divebell.costs.settings import Settings
from divebell.errors import BadInput

OWN = Settings(dollars_per_kwh=0.36)
LOAD = worth.Load(prompt=2e6, cached=0, answered=1e6)


def _machine(dollars=365.25, seconds=43_200.0):
    return worth.Machine(dollars, 1.0, 0.0, seconds, 3.6e6, "a test")


@pytest.mark.parametrize(
    ("model", "verdict"), [("deepseek-v4-flash", "rent"), ("gpt-4", "own")], ids=["cheap API", "dear API"]
)
def test_the_cheapest_wins(model, verdict):
    found = worth.judge(LOAD, _machine(), price(model), OWN)
    assert found.verdict == verdict
    assert found.dollars["own"] == pytest.approx(1 + 0.36)
    assert found.dollars["rent"] == pytest.approx(price(model).cost(2_000_000, 0, 1_000_000))


def test_at_the_break_even_both_cost_the_same():
    found = worth.judge(LOAD, _machine(), price("gpt-4o"), OWN)
    times = found.break_even / LOAD.tokens
    assert 1 + 0.36 * times == pytest.approx(found.dollars["rent"] * times)


def test_what_the_machine_can_not_do_is_rented_besides():
    found = worth.judge(LOAD, _machine(seconds=172_800.0), price("gpt-4"), OWN)
    assert found.verdict == "mix"
    assert found.capacity == pytest.approx(LOAD.tokens / 2)
    assert found.dollars["mix"] == pytest.approx(1 + 0.18 + found.dollars["rent"] / 2)


def test_without_its_price_a_machine_is_judged_on_a_condition():
    own = worth.judge(LOAD, _machine(dollars=None), price("gpt-4"), OWN)
    limit = (own.dollars["rent"] - 0.36) * 365.25
    assert own.condition == f"if the machine costs less than ${limit:,.0f}; its price is not given"
    assert worth.judge(LOAD, _machine(dollars=limit), price("gpt-4"), OWN).dollars["own"] == pytest.approx(
        own.dollars["rent"]
    )
    slow = worth.judge(LOAD, _machine(dollars=None, seconds=172_800.0), price("gpt-4"), OWN)
    assert f"less than ${limit / 2:,.0f};" in slow.condition
    assert f"the price of the machine: at ${limit / 2:,.0f} owning costs as much as renting" in slow.changes
    rent = worth.judge(LOAD, _machine(dollars=None), price("deepseek-v4-flash"), Settings(dollars_per_kwh=9.0))
    assert (rent.verdict, rent.condition) == ("rent", "even if the machine were a present; its price is not given")
    assert worth.judge(LOAD, _machine(), price("gpt-4"), OWN).condition == ""


ANSWER = {"kind": "answer", "time": 1.7e9, "method": "a meter", "prompt_tokens": 100, "cached_tokens": 0}
ANSWER |= {"completion_tokens": 10, "shared_seconds": 2.0, "joules": 150.0, "idle_joules": 0.0}


@pytest.mark.parametrize(
    ("answer", "idle", "own", "watts"),
    [
        ({}, [{"shared_seconds": 100.0, "joules": 5000.0}, {"shared_seconds": 50.0, "joules": 2500.0}], {}, 50.0),
        ({}, [{"joules": 50 * 86400.0}], {}, 50.0),
        ({"idle_joules": 80.0}, [{"shared_seconds": 100.0, "joules": 5000.0}], {}, 40.0),
        ({"idle_joules": 80.0}, [], {"idle_watts": 30.0}, 30.0),
        ({}, [], {}, 0.0),
    ],
    ids=["metered", "metered, without seconds", "of answers", "given", "unknown"],
)
def test_a_ledgers_idle_power_is_the_best_known_and_not_in_the_work_too(answer, idle, own, watts):
    rows = [ANSWER | answer] * 10 + [{"kind": "idle", "time": 1.7e9} | row for row in idle]
    _, machine = worth.from_ledger(rows, Settings(**own))
    assert machine.idle_watts == watts
    assert machine.joules == 1500 - 20 * watts


def test_no_load_is_refused_and_so_is_an_empty_ledger():
    with pytest.raises(BadInput, match="no load"):
        worth.judge(worth.Load(0, 0, 0), _machine(), price("gpt-4"), OWN)
    with pytest.raises(BadInput, match="--model"):
        worth.from_ledger([], OWN)

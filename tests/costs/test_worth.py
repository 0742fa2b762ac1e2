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


def test_no_load_is_refused_and_so_is_an_empty_ledger():
    with pytest.raises(BadInput, match="no load"):
        worth.judge(worth.Load(0, 0, 0), _machine(), price("gpt-4"), OWN)
    with pytest.raises(BadInput, match="--model"):
        worth.from_ledger([], OWN)

"""Dated prices."""

import pytest

from divebell.costs.prices import price, prices, stated
from divebell.errors import BadInput


def test_every_price_has_a_source_and_a_date():
    assert all(row.source and row.date and row.input > 0 for row in prices())
    assert len({row.model for row in prices()}) == len(prices())


def test_cached_tokens_cost_what_the_list_says_or_what_others_do():
    assert price("deepseek-r1").cost(2_000_000, 1_000_000, 1_000_000) == pytest.approx(0.14 + 0.55 + 2.19)
    assert price("gpt-4").cost(2_000_000, 1_000_000, 0) == pytest.approx(60)


def test_a_price_says_how_long_it_was_on_offer_and_what_limits_it():
    night = price("deepseek-r1-night")
    assert (night.since, night.until) == ("2025-02-26", "2025-09-05")
    assert night.dated == "2025-02-26; until 2025-09-05; 16:30 to 00:30 UTC"
    assert (night.ended("2025-09-05"), night.ended("2025-09-06")) == (False, True)
    assert (price("gpt-4").dated, price("gpt-4").ended("2030-01-01")) == ("2026-07-02", False)


def test_an_unknown_model_is_named():
    with pytest.raises(BadInput, match=r"gpt-9.*deepseek-v4-flash"):
        price("gpt-9")


def test_a_persons_own_price():
    assert stated("0.5, 2").cost(1_000_000, 400_000, 1_000_000) == pytest.approx(0.5 + 2)


@pytest.mark.parametrize("text", ["1", "1,2,3", "-1,2", "1,-2", "a,b", "nan,1", "inf,1", ""])
def test_what_is_no_price_is_told(text):
    with pytest.raises(BadInput, match="give dollars for 10"):
        stated(text)

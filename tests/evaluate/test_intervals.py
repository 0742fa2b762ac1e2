"""Intervals and tests against formulas, tables and other implementations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from divebell.evaluate.intervals import difference, interval, matched, mcnemar, wilson

COUNTS = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS)
def test_wilsons_interval_is_scipys(counts):
    right, count = counts
    expected = stats.binomtest(right, count).proportion_ci(method="wilson")
    found = wilson(right, count)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.low <= found.value <= found.high


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemars_test_is_the_exact_binomial_one(better, worse):
    expected = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert mcnemar(better, worse) == pytest.approx(expected, rel=1e-9)


def test_a_bootstrap_holds_the_mean_as_the_normal_formula_does():
    values = [i % 10 / 10 for i in range(400)]
    found = interval(values)
    error = stats.sem(values)
    assert found.method == "bootstrap"
    assert found.half_width == pytest.approx(1.96 * error, rel=0.1)
    assert interval(values, max).value == 0.9


def test_two_models_that_differ_on_few_questions_are_told_apart():
    first, second = [1, 0] * 50, [1, 0] * 40 + [1, 1] * 10
    found = difference(first, second)
    assert (found.better, found.worse, found.questions) == (10, 0, 100)
    assert found.p == pytest.approx(2 / 2**10)
    assert found.differs
    assert found.test == "McNemar, exact"
    assert found.difference.value == pytest.approx(0.1)
    assert found.difference.low == pytest.approx(10 / 102 - 1.959964 * (11 - 100 / 102) ** 0.5 / 102, abs=1e-6)


def test_the_interval_of_paired_shares_is_the_published_one():
    found = matched(20, 40, 160)  # the example of R's PropCIs, diffpropci.mp(40, 20, 160)
    assert (found.low, found.high) == pytest.approx((-0.21601726, -0.03089632), abs=1e-8)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_the_interval_of_paired_shares_holds_their_difference(better, worse, others):
    count = max(better + worse + others, 1)
    found = matched(better, worse, count)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high
    other = matched(worse, better, count)
    assert (found.low, found.high) == pytest.approx((-other.high, -other.low))


def test_equal_models_are_not_told_apart():
    assert difference([0, 1, 1], [0, 1, 1]).p == 1
    assert not difference([0.5, 0.25], [0.5, 0.25]).differs


def test_means_of_samples_are_compared_by_their_differences():
    found = difference([0.25, 0.5, 0.75, 0.5] * 20, [0.5, 0.5, 0.75, 0.75] * 20)
    assert found.test == "paired normal"
    assert found.p == pytest.approx(2 * stats.norm.sf(0.125 / (0.125 / 80**0.5)), rel=1e-6)

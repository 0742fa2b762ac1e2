"""route against the reference: the same experts in the same order, weights to float32 rounding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from divebell.ops import Router, native, reference

ROUTERS = {
    "v2-lite": (64, Router(6)),
    "v2": (160, Router(6, groups=8, kept_groups=3, scale=16.0)),
    "v3": (256, Router(8, "sigmoid", 8, 4, "top2", True, 2.5)),
    "kimi": (384, Router(8, "sigmoid", renormalise=True, scale=2.827)),
    "all": (4, Router(4, "sigmoid")),
    "one of each group": (6, Router(1, groups=6, kept_groups=1)),
}


def same(logits, bias, router) -> None:
    ids, weights = native.route(logits, bias, router)
    expected_ids, expected = reference.route(logits, bias, router)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_allclose(weights, expected, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("tokens", [0, 1, 100])
@pytest.mark.parametrize("name", ROUTERS)
@pytest.mark.parametrize("biased", [False, True])
def test_reference(name, tokens, biased):
    rng, (experts, router) = np.random.default_rng(0), ROUTERS[name]
    bias = rng.standard_normal(experts, np.float32) * np.float32(0.1) if biased else None
    same(rng.standard_normal((tokens, experts), np.float32), bias, router)


@given(arrays(np.float32, (2, 12), elements=st.integers(-3, 3).map(float)), st.booleans(), st.booleans())
def test_ties_go_to_the_lower_expert_and_group(logits, sigmoid, two_best):
    """Few distinct values, so that most choices are ties."""
    router = Router(4, "sigmoid" if sigmoid else "softmax", 4, 2, "top2" if two_best else "max")
    bias = np.zeros(12, np.float32)
    same(logits, bias, router)


def test_what_is_not_a_number_does_no_harm():
    for value in (np.nan, np.inf, -np.inf):
        logits = np.zeros((1, 256), np.float32)
        logits[0, 3:90] = value
        ids, _ = native.route(logits, None, ROUTERS["v3"][1])
        assert ((ids >= 0) & (ids < 256)).all()


def test_a_router_that_can_not_be_is_refused():
    logits = np.zeros((1, 8), np.float32)
    with pytest.raises(ValueError, match="9 experts are to be chosen of 8"):
        native.route(logits, None, Router(9))
    with pytest.raises(ValueError, match="8 experts in 3 groups"):
        native.route(logits, None, Router(1, groups=3, kept_groups=1))
    with pytest.raises(ValueError, match="differs in length"):
        native.route(logits, np.zeros(7, np.float32), Router(1))

"""moe against the sum of its experts, each of which test_swiglu holds against float64."""

import numpy as np
import pytest
import stored
from batches import same_bits_with_threads
from nets import PAIRS, close, exact, net

from divebell.ops import native, reference

E, K, D, WIDTH = 8, 3, 256, 512


def experts(gate: str, down: str):
    nets = [net(gate, down, D, WIDTH, 10 * e) for e in range(E)]
    return nets, native.experts(*zip(*nets, strict=True))


def case(T: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    ids = np.array([rng.permutation(E)[:K] for _ in range(T)], np.int32).reshape(T, K)
    return rng.standard_normal((T, D)).astype(np.float32), ids, rng.random((T, K), np.float32)


def exact_sum(x, ids, weights, nets):
    out = np.zeros(x.shape)
    for e, tensors in enumerate(nets):
        tokens, slots = np.nonzero(ids == e)
        np.add.at(out, tokens, weights[tokens, slots, None] * exact(x[tokens], *tensors))
    return out


@pytest.mark.parametrize("T", [1, 2, 7, 40])
@pytest.mark.parametrize(("gate", "down"), PAIRS)
def test_formats(gate, down, T):
    nets, handle = experts(gate, down)
    x, ids, weights = case(T)
    close(native.moe(x, ids, weights, handle), exact_sum(x, ids, weights, nets))


def test_reference():
    nets, handle = experts("F32", "F32")
    x, ids, weights = case(20)
    expected = reference.moe(x, ids, weights, reference.experts(*zip(*nets, strict=True)))
    np.testing.assert_allclose(native.moe(x, ids, weights, handle), expected, atol=1e-5 * np.abs(expected).max())


def test_shared_expert_is_added():
    nets, handle = experts("Q4_0", "Q4_0")
    shared = net("Q4_0", "Q8_0", D, 2 * WIDTH, 99)
    both = native.experts(*zip(*nets, strict=True), shared=tuple(shared))
    x, ids, weights = case(11)
    expected = native.moe(x, ids, weights, handle) + native.swiglu(x, *[native.weight(t) for t in shared])
    np.testing.assert_allclose(native.moe(x, ids, weights, both), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("T", [1, 30])
def test_same_bits_with_any_number_of_threads(T):
    _, handle = experts("Q4_K", "Q4_K")
    same_bits_with_threads((1, 2, 3), lambda: native.moe(*case(T), handle))


@stored.same_in_company
@pytest.mark.parametrize(("gate", "down"), PAIRS)
def test_a_token_is_the_same_bits_in_any_company(gate, down):
    nets, handle = experts(gate, down)
    both = native.experts(*zip(*nets, strict=True), shared=tuple(nets[0]))
    x, ids, weights = case(70)
    for used in (handle, both):
        together = native.moe(x, ids, weights, used)
        for T in (1, 2, 9, 33):
            np.testing.assert_array_equal(native.moe(x[:T], ids[:T], weights[:T], used), together[:T])


def test_an_expert_chosen_twice_and_one_for_all_tokens():
    nets, handle = experts("F32", "F32")
    x, ids, weights = case(9)
    ids[:] = 5
    close(native.moe(x, ids, weights, handle), exact_sum(x, ids, weights, nets))


def test_more_tokens_than_one_block():
    nets, handle = experts("Q4_0", "Q4_0")
    x, ids, weights = case(2100)
    y = native.moe(x, ids, weights, handle)
    close(y[-20:], exact_sum(x[-20:], ids[-20:], weights[-20:], nets))


def test_no_tokens():
    assert native.moe(*case(0), experts("F32", "F32")[1]).shape == (0, D)


def test_weights_that_are_not_finite_stay_in_their_row():
    x, ids, weights = case(9)
    weights[4, 1] = np.nan
    y = native.moe(x, ids, weights, experts("Q4_0", "Q4_0")[1])
    assert np.isnan(y[4]).all()
    assert np.isfinite(np.delete(y, 4, axis=0)).all()


@pytest.mark.parametrize("bad", [-1, E, 2**31 - 1])
def test_an_expert_that_does_not_exist_is_refused(bad):
    x, ids, weights = case(3)
    ids[2, 1] = bad
    with pytest.raises(ValueError, match=f"expert {bad} is outside 0 to {E - 1}"):
        native.moe(x, ids, weights, experts("F32", "F32")[1])


def test_experts_that_do_not_match_are_refused():
    nets = [net("F32", "F32", D, WIDTH) for _ in range(2)]
    gates, ups, downs = zip(*nets, strict=True)
    with pytest.raises(ValueError, match="as many gates"):
        native.experts(gates, ups, downs[:1])
    with pytest.raises(ValueError, match="do not fit"):
        native.experts(gates, downs, ups)

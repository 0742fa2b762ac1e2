"""The sampler against exact probabilities, and against transformers where the meaning is the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from divebell.engine.sampler import Sampler, distribution, log_sums, token_logprob
from divebell.engine.sampling import Sampling

LOGITS = np.array([2.0, 1.5, 1.5, 0.3, 0.0, -0.5, -1.0, -4.0, -30.0], np.float32)
FILTERS = [
    {"temperature": 1.0},
    {"temperature": 0.5},
    {"temperature": 2.5},
    {"temperature": 1.0, "top_k": 3},
    {"temperature": 1.0, "top_k": 2},  # two tie for the second place
    {"temperature": 1.0, "top_p": 0.7},
    {"temperature": 1.0, "min_p": 0.2},
    {"temperature": 0.7, "top_k": 5, "top_p": 0.9, "min_p": 0.1},
    {"temperature": 1.3, "top_k": 7, "top_p": 0.95},
]
rows = arrays(np.float32, st.integers(2, 60), elements=st.floats(-12, 12, width=32))


def dense(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    ids, probabilities = distribution(logits, sampling)
    full = np.zeros(len(logits))
    full[ids] = probabilities
    return full


@pytest.mark.parametrize("options", FILTERS)
def test_frequencies_are_those_of_the_exact_distribution(options):
    """Chi-square over 20,000 draws; the bound is passed by a right sampler in all but one of a million runs."""
    draws = 20_000
    sampler = Sampler(Sampling(**options), seed=5, prompt=[], vocabulary=len(LOGITS))
    counts = np.bincount([sampler.choose(LOGITS) for _ in range(draws)], minlength=len(LOGITS))
    expected = transformers_probabilities(LOGITS, options) * draws
    assert counts[expected == 0].sum() == 0
    likely = expected > 5
    chi_square = ((counts - expected)[likely] ** 2 / expected[likely]).sum()
    assert chi_square < 45  # at most 8 degrees of freedom


@pytest.mark.parametrize("options", FILTERS)
def test_filters_keep_what_transformers_keeps(options):
    expected = transformers_probabilities(LOGITS, options)
    assert np.allclose(dense(LOGITS, Sampling(**options)), expected, atol=1e-6)


@pytest.mark.parametrize(
    "options", [*FILTERS, {"temperature": 1.0, "top_k": 200}, {"temperature": 1.0, "top_p": 0.9999}]
)
@pytest.mark.parametrize("spread", [0.1, 2, 10])
def test_a_whole_vocabulary_is_filtered_as_in_transformers(options, spread):
    logits = vocabulary(5003, spread)
    expected = transformers_probabilities(logits, options)
    assert np.allclose(dense(logits, Sampling(**options)), expected, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("spread", [0.1, 2, 10])
def test_a_number_draws_the_token_whose_share_it_lies_in(spread):
    logits = vocabulary(5003, spread)
    logits[::3] = logits[-40:] = -np.inf
    weights = np.exp(logits.astype(np.float64) / 0.8)
    starts = np.concatenate([[0], weights.cumsum() / weights.sum()])
    sampler = Sampler(Sampling(temperature=0.8), 1, [], len(logits))
    for number in [0.0, *np.random.default_rng(2).random(2000), 1 - 2**-53]:
        sampler._uniform = lambda number=number: number
        token = sampler.choose(logits)
        assert logits[token] > -np.inf
        assert starts[token] - 1e-6 <= number <= starts[token + 1] + 1e-6


@pytest.mark.parametrize("options", FILTERS)
@pytest.mark.parametrize("allowed", [[0, 1, 2, 3, 4, 5, 6, 7, 8], [1, 3, 4, 5, 6, 8], [2, 7], [8]])
def test_what_is_not_allowed_counts_for_nothing(options, allowed):
    """The filters see the allowed tokens alone: a top-k of 3 keeps three of those."""
    draws = 4000
    sampler = Sampler(Sampling(**options), seed=6, prompt=[], vocabulary=len(LOGITS))
    counts = np.bincount([sampler.choose(LOGITS, np.array(allowed)) for _ in range(draws)], minlength=len(LOGITS))
    masked = np.full(len(LOGITS), -np.inf, np.float32)
    masked[allowed] = LOGITS[allowed]
    expected = transformers_probabilities(masked, options) * draws
    assert counts[expected == 0].sum() == 0
    likely = expected > 5
    assert ((counts - expected)[likely] ** 2 / expected[likely]).sum() < 45


def test_penalties_and_bias_come_before_what_is_allowed():
    options = {"frequency_penalty": 2.0, "logit_bias": {4: 1.0}}
    sampler = Sampler(Sampling(**options), 1, [], len(LOGITS))
    allowed = np.array([3, 4, 5])
    assert [sampler.choose(LOGITS, allowed) for _ in range(4)] == [4, 3, 5, 4]  # 0.3, 1.0 and -0.5, each less what came
    assert Sampler(Sampling(temperature=0.0), 1, [], len(LOGITS)).choose(LOGITS, np.array([7, 8])) == 7


def vocabulary(size: int, spread: float) -> np.ndarray:
    return (np.random.default_rng(size).standard_normal(size) * spread).astype(np.float32)


def transformers_probabilities(logits, options) -> np.ndarray:
    import torch
    from transformers import generation

    made = {
        "temperature": lambda t: generation.TemperatureLogitsWarper(t),
        "top_k": lambda k: generation.TopKLogitsWarper(k),
        "top_p": lambda p: generation.TopPLogitsWarper(p),
        "min_p": lambda p: generation.MinPLogitsWarper(p),
    }
    scores = torch.tensor(logits)[None]
    for name, make in made.items():
        if name in options:
            scores = make(options[name])(torch.zeros((1, 1), dtype=torch.long), scores)
    return torch.softmax(scores[0].double(), -1).numpy()


@settings(max_examples=200, deadline=None)
@given(rows, st.floats(0.3, 3), st.floats(0.05, 0.99))
def test_top_p_keeps_the_smallest_set_that_is_enough(logits, temperature, top_p):
    everything = dense(logits, Sampling(temperature=temperature))
    kept = dense(logits, Sampling(temperature=temperature, top_p=top_p)) > 0
    assert everything[kept].sum() >= top_p - 1e-6
    assert everything[kept].sum() - everything[kept].min() <= top_p + 1e-6
    assert everything[kept].min() >= everything[~kept].max(initial=0) - 1e-9


@settings(max_examples=200, deadline=None)
@given(rows, st.floats(0.3, 3), st.integers(1, 70))
def test_top_k_keeps_the_likeliest_and_their_ties(logits, temperature, top_k):
    kept = dense(logits, Sampling(temperature=temperature, top_k=top_k)) > 0
    scaled = (logits - logits.max()) / temperature
    assert kept.sum() >= min(top_k, len(logits))
    assert scaled[kept].min() > scaled[~kept].max(initial=-np.inf)


@settings(max_examples=200, deadline=None)
@given(rows, st.floats(0.01, 1))
def test_min_p_keeps_exactly_the_tokens_above_its_share_of_the_likeliest(logits, min_p):
    probabilities = dense(logits, Sampling(temperature=1.0))
    kept = dense(logits, Sampling(temperature=1.0, min_p=min_p)) > 0
    clear = np.abs(probabilities - min_p * probabilities.max()) > 1e-6
    assert (kept == (probabilities > min_p * probabilities.max()))[clear].all()


@settings(max_examples=100, deadline=None)
@given(rows, st.floats(0.01, 100), st.integers(0, 2**64 - 1))
def test_the_same_seed_gives_the_same_tokens_whatever_ran_between(logits, temperature, seed):
    sampling = Sampling(temperature=temperature)
    one, two = (Sampler(sampling, seed, [], len(logits)) for _ in range(2))
    np.random.seed(1)  # a foreign generator must not matter
    assert [one.choose(logits) for _ in range(5)] == [two.choose(logits) for _ in range(5)]


def test_other_seeds_give_other_tokens():
    flat = np.zeros(1000, np.float32)
    drawn = {Sampler(Sampling(temperature=1.0), seed, [], 1000).choose(flat) for seed in range(50)}
    assert len(drawn) > 40


@pytest.mark.parametrize("temperature", [0.0, 1e-300, 1e-9, 1e-6])
def test_the_coldest_temperatures_are_greedy(temperature):
    assert Sampler(Sampling(temperature=temperature), 1, [], len(LOGITS)).choose(LOGITS) == 0


@settings(max_examples=50, deadline=None)
@given(rows, st.floats(0.2, 3), st.lists(st.integers(0, 1), min_size=1, max_size=8))
def test_repetition_penalty_is_that_of_transformers(logits, penalty, prompt):
    import torch
    from transformers import generation

    sampler = Sampler(Sampling(repetition_penalty=penalty), 1, prompt, len(logits))
    theirs = generation.RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([prompt]), torch.tensor(logits)[None])
    assert np.allclose(sampler._adjusted(logits), theirs[0].numpy(), rtol=1e-6)


def test_frequency_and_presence_count_the_answer_alone():
    logits = np.array([5.0, 4.0, 0.0], np.float32)
    sampling = Sampling(frequency_penalty=0.75, presence_penalty=0.5)
    sampler = Sampler(sampling, 1, [0, 0, 0], 3)
    assert [sampler.choose(logits) for _ in range(4)] == [0, 1, 0, 0]  # 5 > 4; 3.75 < 4; 3.75 > 2.75; 3 > 2.75
    assert np.allclose(sampler._adjusted(logits), [5 - 0.5 - 3 * 0.75, 4 - 0.5 - 0.75, 0])


def test_a_bias_is_added_before_anything_is_drawn():
    logits = LOGITS.copy()
    assert Sampler(Sampling(logit_bias={8: 100.0}), 1, [], 9).choose(logits) == 8
    assert Sampler(Sampling(temperature=1.0, logit_bias={0: -100.0}), 1, [], 9).choose(logits) != 0
    assert (logits == LOGITS).all()


@settings(max_examples=100, deadline=None)
@given(rows, st.integers(0, 10), st.data())
def test_logprobs_are_of_the_untouched_distribution(logits, count, data):
    token = data.draw(st.integers(0, len(logits) - 1))
    count = min(count, len(logits))
    exact64 = logits.astype(np.float64) - np.log(np.exp(logits.astype(np.float64)).sum())
    found = token_logprob(logits, token, count)
    assert found.logprob == pytest.approx(exact64[token], abs=1e-5)
    assert len(found.top) == count
    assert [value for _, value in found.top] == sorted((value for _, value in found.top), reverse=True)
    assert [value for _, value in found.top] == pytest.approx(sorted(exact64, reverse=True)[:count], abs=1e-5)


@pytest.mark.parametrize("count", [0, 1, 12, 5003])
def test_logprobs_of_a_whole_vocabulary(count):
    logits = np.round(vocabulary(5003, 3), 1)
    exact64 = logits.astype(np.float64) - np.log(np.exp(logits.astype(np.float64)).sum())
    order = np.argsort(-logits, kind="stable")[:count]
    found = token_logprob(logits, 7, count)
    assert [token for token, _ in found.top] == order.tolist()
    assert [found.logprob, *(value for _, value in found.top)] == pytest.approx(exact64[[7, *order]], abs=1e-6)


def test_log_sums_of_many_rows():
    logits = np.stack([vocabulary(5003, spread) for spread in (0, 0.1, 3, 30)])
    exact64 = np.log(np.exp(logits.astype(np.float64)).sum(axis=-1))
    assert log_sums(logits) == pytest.approx(exact64, abs=1e-6)

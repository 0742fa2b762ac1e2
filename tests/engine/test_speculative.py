"""Guesses: where they come from, when they are run, and that they change nothing but the number of steps."""

from itertools import pairwise

import numpy as np
import pytest
from fakes import VOCABULARY, FakeModel
from hypothesis import given, settings
from hypothesis import strategies as st

from divebell.engine.cache import Cache
from divebell.engine.core import Core
from divebell.engine.generation import Generation
from divebell.engine.sampling import Sampling
from divebell.engine.speculative import BELIEFS, GRAM, MOST_GUESSES, REFRESH, SAMPLES, Guess, Guesser, Profit

ids = st.lists(st.integers(0, 3), min_size=1, max_size=80)


def tokens(guesses: list[Guess]) -> list[int]:
    return [guess.token for guess in guesses]


def test_what_followed_the_same_words_is_guessed_to_follow_again():
    guesser = Guesser([1, 2, 3, 4, 5, 6, 9, 9, 1, 2, 3])
    assert tokens(guesser.guesses(4)) == [4, 5, 6, 9]
    assert tokens(guesser.guesses(0)) == []


def test_the_place_with_the_longest_agreement_is_taken_and_of_equal_ones_the_latest():
    assert tokens(Guesser([7, 1, 2, 3, 4, 8, 1, 2, 3, 5, 9, 7, 1, 2, 3]).guesses(1)) == [4]
    assert tokens(Guesser([6, 1, 2, 3, 4, 8, 1, 2, 3, 5, 9, 7, 1, 2, 3]).guesses(1)) == [5]


def test_text_that_repeats_itself_goes_on_repeating_itself():
    assert tokens(Guesser([0, 1, 2, 0, 1, 2, 0, 1]).guesses(7)) == [2, 0, 1, 2, 0, 1, 2]


@settings(max_examples=200, deadline=None)
@given(ids, st.integers(1, 30))
def test_guesses_made_step_by_step_are_those_of_the_whole_text(text, start):
    """However many tokens come between two requests for guesses, and whichever of them had been guessed."""
    grown = text[:start]
    guesser = Guesser(grown)
    for token in text[start:]:
        grown.append(token)
        found = guesser.guesses(5)
        gram = grown[-GRAM:]
        places = (
            [end for end in range(GRAM, len(grown)) if grown[end - GRAM : end] == gram] if len(gram) == GRAM else []
        )
        assert bool(found) == bool(places)
        if found:
            assert any((grown + tokens(found))[place : place + len(found)] == tokens(found) for place in places)


@settings(max_examples=100, deadline=None)
@given(ids, st.lists(st.integers(1, 9), max_size=20))
def test_probabilities_fall_along_the_guesses(text, sizes):
    grown = text[:1]
    guesser = Guesser(grown)
    for size in sizes:
        grown += text[len(grown) : len(grown) + size]
        found = guesser.guesses(6)
        chances = [1.0, *(guess.probability for guess in found)]
        assert all(0 < after < before for before, after in pairwise(chances))


def test_trust_follows_how_often_guesses_were_right():
    right, wrong = Guesser([1, 2, 3, 4] * 30), Guesser([1, 2, 3, 4] * 30)
    for token in [1, 2, 3, 4] * 10:
        right.guesses(1)
        right._ids.append(token)
    assert right.guesses(1)[0].probability > 0.95
    for n in range(40):
        wrong.guesses(1)
        wrong._ids += [1, 2, 3, 50 + n]
    wrong._ids += [1, 2, 3]
    assert wrong.guesses(1)[0].probability < BELIEFS[2] / 2


def sure(count: int, probability: float = 1.0) -> list[Guess]:
    return [Guess(token, probability ** (token + 1)) for token in range(count)]


def profit(plain: float, row: float, requests: int = 1) -> Profit:
    """After steps that took so many seconds, and so much longer for each guess."""
    made = Profit()
    for count in range(34):
        made.took(requests, count, plain + row * count)
    return made


def test_nothing_is_guessed_before_a_plain_step_has_been_timed():
    assert Profit().worthwhile(sure(5), 1) == []


@pytest.mark.parametrize(
    ("row", "probability", "count"),
    [(0.1, 1.0, 32), (1.2, 1.0, 0), (0.1, 0.05, 0), (0.5, 0.7, 1), (0.3, 0.7, 3), (0.5, 0.45, 0)],
)
def test_as_many_guesses_are_run_as_save_more_than_they_cost(row, probability, count):
    """The n-th saves probability ** n of a step, and costs `row` of one."""
    assert len(profit(1.0, row).worthwhile(sure(32, probability), 1)) == count


def test_a_token_is_worth_less_where_steps_are_shared():
    assert len(profit(1.0, 0.2, requests=1).worthwhile(sure(4), 1)) == 4
    assert len(profit(1.0, 0.2, requests=8).worthwhile(sure(4), 8)) == 0


def test_a_few_guesses_are_run_where_one_more_makes_steps_slow():
    """Up to four rows are computed in one way and more in another, which pays only for many."""
    made = Profit()
    for count, seconds in {0: 1.0, 1: 1.2, 2: 1.3, 3: 1.5, 4: 4.0, 7: 4.3, 15: 4.9, 31: 6.6}.items():
        made.took(1, count, seconds)
    assert len(made.worthwhile(sure(32, 0.8), 1)) == 3
    assert len(made.worthwhile(sure(31, 0.99), 1)) == 31
    assert len(made.worthwhile(sure(6), 1)) == 6  # 5 saved, less than 4.3 - 1 as 7 guesses showed
    assert len(made.worthwhile(sure(1), 1, before=3)) == 0
    assert len(made.worthwhile(sure(6), 1, before=25)) == 6


def test_what_did_not_pay_is_tried_again_once_in_a_while():
    made = profit(1.0, 3.0)
    tried = [len(made.worthwhile(sure(4), 1)) for _ in range(REFRESH + 1)]
    assert sum(tried) == tried[REFRESH - 1] + tried[REFRESH] > 0
    for _ in range(SAMPLES):  # the machine was busy, and is not any more
        made.took(1, 1, 1.1)
        made.took(1, 0, 1.0)
    assert len(made.worthwhile(sure(1), 1)) == 1


def test_a_plain_step_is_timed_again_once_in_a_while():
    made = profit(1.0, 0.1)
    counts = []
    for _ in range(2 * REFRESH):
        counts.append(len(made.worthwhile(sure(4), 1)))
        made.took(1, counts[-1], 1.0 + 0.1 * counts[-1])
    assert counts.count(0) == 2
    assert set(counts) == {0, 4}


def test_costs_of_many_guesses_say_nothing_of_few():
    made = Profit()
    made.took(1, 0, 1.0)
    made.took(1, 1, 5.0)
    assert len(made.worthwhile(sure(1), 1)) == 0
    made.took(1, 8, 5.5)
    assert len(made.worthwhile(sure(8), 1)) == 8
    assert len(made.worthwhile(sure(30), 1)) == 30  # unknown: half a token's worth each


class Repeating(FakeModel):
    """Goes on as the text did before, and now and then does not: there is much to guess, rightly and wrongly."""

    def logits(self, hidden):
        logits = np.sin(np.arange(VOCABULARY, dtype=np.float32) * (1 + hidden[:, :1] % 5)) * 2
        logits[np.arange(len(hidden)), hidden[:, 0].astype(int) * 7 % 11] += 8
        return logits + (hidden[:, 1:2] % 7 == 0) * np.roll(logits, 5, axis=1)


def clock_of(core: Core, plain: float = 1.0, row: float = 0.05):
    """Seconds that pass by the rows that are run, whatever the machine does."""
    begun = [0.0]

    def clock() -> float:
        rows = sum(len(batch.ids) for batch in core.model.batches)
        begun[0] = len(core.model.batches) * plain + rows * row
        return begun[0]

    return clock


def run(prompts: list[list[int]], guesses: bool, row: float = 0.05, **options) -> tuple[list[Generation], Core]:
    model = Repeating()
    core = Core(model, Cache(model.cache_layout, model.cache_dtype, 64))
    core._clock = clock_of(core, row=row)
    sequences = []
    for number, prompt in enumerate(prompts):
        sampling = Sampling(max_tokens=150, seed=number, **options)
        sequence = Generation(prompt, sampling, len(prompt) + 150, VOCABULARY, set())
        if not guesses:
            sequence.draft = lambda most, worthwhile: []
        sequences.append(sequence)
        core.submit(sequence)
    while not all(sequence.finished for sequence in sequences):
        core.step()
        core.check_integrity()
    return sequences, core


OPTIONS = [
    {},
    {"temperature": 0.3},
    {"temperature": 1.0, "top_p": 0.8, "logprobs": 2},
    {"temperature": 0.5, "frequency_penalty": 0.05, "repetition_penalty": 1.05, "top_k": 5},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_text_is_the_same_with_and_without_guesses(options):
    prompts = [[5, 6, 7, 8] * 9, [1], list(range(40)) * 2]
    (guessed, quick), (plain, slow) = (run(prompts, guesses, **options) for guesses in (True, False))
    assert [s.ids for s in guessed] == [s.ids for s in plain]
    assert [s.completion().logprobs for s in guessed] == [s.completion().logprobs for s in plain]
    assert len(quick.model.batches) < len(slow.model.batches)
    for sequence in guessed:
        receipt = sequence.completion().receipt
        assert 0 <= receipt.accepted_tokens <= receipt.drafted_tokens
    assert sum(s.accepted for s in guessed) > 30
    assert sum(s.drafted - s.accepted for s in guessed) > 0
    assert all(s.drafted == 0 for s in plain)


def test_where_guesses_cost_too_much_hardly_any_are_run():
    (sequence,), core = run([[5, 6, 7, 8] * 9], True, row=2.0)
    assert sequence.drafted <= 2 * MOST_GUESSES
    assert len(core.model.batches) >= 100


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 96), max_size=12), max_size=60), st.integers(0, 5), st.floats(0, 2))
def test_any_guesses_at_all_leave_the_text_as_it_is(guesses, seed, temperature):
    """Right, wrong, half right, or ids at random: forced acceptances and forced rejections."""
    options = {"max_tokens": 40, "seed": seed, "temperature": temperature, "frequency_penalty": 0.1}
    alone = drafting([], options)
    random = drafting(guesses, options)
    told = drafting([alone[n : n + 1 + n % 7] for n in range(40)], options, right=alone)
    assert random == told == alone


def drafting(guesses: list[list[int]], options: dict, right: list[int] | None = None) -> list[int]:
    model = Repeating()
    core = Core(model, Cache(model.cache_layout, model.cache_dtype, 4))
    sequence = Generation([3, 1, 4], Sampling(**options), 43, VOCABULARY, set())
    steps = iter(guesses)

    def draft(most, worthwhile):
        done = len(sequence.ids) - 3
        return (right[done : done + 4] if right else next(steps, []))[:most]

    sequence.draft = draft
    core.submit(sequence)
    while not sequence.finished:
        core.step()
        core.check_integrity()
    if right:
        assert len(model.batches) <= 1 + -(-40 // 5) + 1
        assert sequence.accepted == sequence.drafted
    return sequence.ids[3:]


@pytest.mark.slow
def test_the_distribution_is_that_without_guesses():
    """Chi-square over the second and third token of 3,000 answers whose guesses are mostly wrong."""
    counts = {True: np.zeros((2, VOCABULARY)), False: np.zeros((2, VOCABULARY))}
    for guesses in counts:
        for seed in range(1500):
            model = Repeating()
            core = Core(model, Cache(model.cache_layout, model.cache_dtype, 1))
            sampling = Sampling(max_tokens=3, seed=seed + 10_000 * guesses, temperature=1.5)
            sequence = Generation([1, 2], sampling, 5, VOCABULARY, set())
            sequence.draft = lambda most, worthwhile, on=guesses: [9, 12][:most] if on else []
            core.submit(sequence)
            while not sequence.finished:
                core.step()
            counts[guesses][[0, 1], sequence.ids[-2:]] += 1
    one, other = counts[True], counts[False]
    common = one + other > 20
    chi_square = ((one - other)[common] ** 2 / (one + other)[common]).sum()
    assert chi_square < common.sum() + 6 * np.sqrt(2 * common.sum())

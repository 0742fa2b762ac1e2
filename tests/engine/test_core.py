import numpy as np
from fakes import VOCABULARY, answer, continuation, core_of, generation, run
from hypothesis import given, settings
from hypothesis import strategies as st

from divebell.engine.generation import Generation
from divebell.engine.pace import STEP_TOKENS
from divebell.engine.reading import Reading, Rows
from divebell.errors import Mismatch


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.lists(st.integers(0, 96), min_size=1, max_size=150), st.integers(1, 40)), max_size=6))
def test_any_mix_of_requests_gives_what_each_would_alone(requests):
    core = core_of(pages=6)  # often too few for all: some wait
    sequences = [generation(prompt, count) for prompt, count in requests]
    run(core, *sequences)
    assert [answer(s) for s in sequences] == [continuation(prompt, count) for prompt, count in requests]
    assert core.tree.available == 6


def test_long_prompts_are_computed_in_chunks_beside_decoding():
    core = core_of()
    short, long = generation([1, 2], 8), generation([3] * 1100, 2)
    run(core, short, long)
    assert answer(short) == continuation([1, 2], 8)
    assert answer(long) == continuation([3] * 1100, 2)
    assert len(core.model.batches[0].ids) == STEP_TOKENS
    assert max(len(batch.lengths) for batch in core.model.batches) == 2


def test_a_request_with_broken_logits_ends_alone():
    core = core_of(broken_at=30)
    good, bad = generation([1, 2], 5), generation([1] * 31, 5)
    run(core, good, bad)
    assert answer(good) == continuation([1, 2], 5)
    assert isinstance(bad.error, Mismatch)
    assert "position 30" in str(bad.error)
    assert core.tree.available == 64


class Failing(Generation):
    """Can't take its third token."""

    def extend(self, logits):
        if len(self.ids) == self.given + 2:
            raise IndexError("no such token")
        super().extend(logits)


def test_what_goes_wrong_in_one_request_ends_it_alone():
    core = core_of()
    good, plain = generation([1, 2], 5), generation([3], 5)
    bad = Failing([3], plain.sampling, plain.most_tokens, VOCABULARY, set())
    run(core, good, bad)
    assert answer(good) == continuation([1, 2], 5)
    assert isinstance(bad.error, IndexError)
    assert core.tree.available == 64


def test_a_reader_that_fails_ends_its_reading_alone():
    def use(position, logits):
        raise KeyError("mine")

    core = core_of()
    good, reading = generation([1, 2], 5), Reading([1] * 40, use)
    run(core, good, reading)
    assert answer(good) == continuation([1, 2], 5)
    assert isinstance(reading.error, KeyError)


def test_reading_gives_every_position_in_order():
    core = core_of()
    ids = [int(i) for i in np.random.default_rng(0).integers(0, VOCABULARY, 700)]
    rows = Rows(len(ids), VOCABULARY)
    run(core, Reading(ids, rows))
    assert rows.rows.argmax(1).tolist() == [continuation(ids[: n + 1], 1)[0] for n in range(700)]


def test_reading_broken_logits_names_the_position():
    core = core_of(broken_at=530)
    reading = Reading([1] * 600, lambda position, logits: None)
    run(core, reading)
    assert "position 530" in str(reading.error)


class Guessing(Generation):
    """Drafts tokens of which every third is wrong."""

    def draft(self, most, worthwhile):
        return [(t + (i % 3 == 2)) % VOCABULARY for i, t in enumerate(continuation(self.ids, min(most, 5)))]


def guessing(prompt, count) -> Guessing:
    plain = generation(prompt, count)
    return Guessing(prompt, plain.sampling, plain.most_tokens, VOCABULARY, set())


def test_drafts_change_nothing_but_the_number_of_steps():
    core = core_of()
    one, other = guessing([1] * 60, 100), guessing([2], 30)
    run(core, one, other)
    assert answer(one) == continuation([1] * 60, 100)
    assert answer(other) == continuation([2], 30)
    assert len(core.model.batches) < 45
    later = generation(one.ids, 3)
    run(core, later)
    assert later.reused == 159  # what was guessed wrongly is not taken for computed
    assert answer(later) == continuation(one.ids, 3)


def test_drafts_end_where_the_request_ends():
    core = core_of(pages=1)
    exact = guessing([1] * 60, 4)
    run(core, exact)
    assert answer(exact) == continuation([1] * 60, 4)

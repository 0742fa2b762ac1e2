import numpy as np
import pytest
from fakes import VOCABULARY, FakeModel, continuation
from hypothesis import given, settings
from hypothesis import strategies as st

from divebell.engine.cache import Cache
from divebell.engine.core import STEP_TOKENS, Core, common_prefix
from divebell.engine.generation import Generation
from divebell.engine.reading import Reading, Rows
from divebell.engine.sampling import Sampling
from divebell.errors import Mismatch


def core_of(pages: int = 64, **model) -> Core:
    fake = FakeModel(**model)
    return Core(fake, Cache(fake.cache_layout, fake.cache_dtype, pages))


def generation(prompt, count, **sampling) -> Generation:
    return Generation(prompt, Sampling(max_tokens=count, **sampling), len(prompt) + count, VOCABULARY, set())


def run(core: Core, *sequences) -> None:
    for sequence in sequences:
        core.submit(sequence)
    finish(core, *sequences)


def finish(core: Core, *sequences) -> None:
    while not all(sequence.finished for sequence in sequences):
        core.step()
        core.check_integrity()


def answer(sequence: Generation) -> list[int]:
    return sequence.ids[sequence.prompt_tokens :]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.lists(st.integers(0, 96), min_size=1, max_size=150), st.integers(1, 40)), max_size=6))
def test_any_mix_of_requests_gives_what_each_would_alone(requests):
    core = core_of(pages=6)  # often too few for all: some wait
    sequences = [generation(prompt, count) for prompt, count in requests]
    run(core, *sequences)
    assert [answer(s) for s in sequences] == [continuation(prompt, count) for prompt, count in requests]
    assert core.cache.free_pages == 6


def test_long_prompts_are_computed_in_chunks_beside_decoding():
    core = core_of()
    short, long = generation([1, 2], 8), generation([3] * 1100, 2)
    run(core, short, long)
    assert answer(short) == continuation([1, 2], 8)
    assert answer(long) == continuation([3] * 1100, 2)
    sizes = [len(batch.ids) for batch in core.model.batches]
    assert max(sizes) == STEP_TOKENS
    assert sizes[:3] == [512, 512, 80]  # of the long prompt: 510, 511 and 79, beside the short one


def test_a_request_that_does_not_fit_waits_for_another_to_end():
    core = core_of(pages=2)
    first, second = generation([1], 64), generation([2], 64)
    core.submit(first)
    core.submit(second)
    core.step()
    assert core.running == [first]
    finish(core, second)
    assert answer(second) == continuation([2], 64)


def test_removing_a_request_frees_its_pages_in_every_state():
    core = core_of(pages=2)
    running, waiting = generation([1], 64), generation([2], 64)
    core.submit(running)
    core.submit(waiting)
    core.step()
    for sequence in (waiting, running, running):
        core.remove(sequence)
        core.check_integrity()
    assert core.cache.free_pages == 2


def test_a_later_turn_computes_only_what_is_new():
    core = core_of()
    first = generation([5] * 100, 10)
    first.keeps = True
    run(core, first)
    second = generation([*first.ids, 1, 2, 3], 10)
    core.submit(second, after=first)
    before = len(core.model.batches)
    finish(core, second)
    assert answer(second) == continuation([*first.ids, 1, 2, 3], 10)
    assert second.reused == 109  # the last token of an answer is never run
    assert len(core.model.batches[before].ids) == 4


def test_a_turn_that_parts_early_reuses_the_common_part():
    core = core_of()
    first = generation([5] * 100, 10)
    first.keeps = True
    run(core, first)
    second = generation([5] * 70 + [6] * 30, 10)
    core.submit(second, after=first)
    finish(core, second)
    assert second.reused == 70
    assert answer(second) == continuation([5] * 70 + [6] * 30, 10)


def test_the_same_prompt_again_still_runs_its_last_token():
    core = core_of()
    first = generation([5] * 20, 1)
    first.keeps = True
    run(core, first)
    second = generation([5] * 20, 3)
    core.submit(second, after=first)
    finish(core, second)
    assert second.reused == 19
    assert answer(second) == continuation([5] * 20, 3)


def test_kept_turns_give_way_when_pages_are_short():
    core = core_of(pages=3)
    first = generation([5] * 100, 10)
    first.keeps = True
    run(core, first)
    assert core.cache.free_pages == 1
    other = generation([1], 100)
    run(core, other)
    assert answer(other) == continuation([1], 100)
    assert core.kept == []
    later = generation([*first.ids, 7], 5)
    core.submit(later, after=first)
    finish(core, later)
    assert later.reused == 0
    assert answer(later) == continuation([*first.ids, 7], 5)


def test_waiting_requests_never_hold_the_pages_that_the_first_in_line_needs():
    core = core_of(pages=4)
    first = generation([5] * 100, 10)
    first.keeps = True
    run(core, first)
    big = generation([1] * 200, 50)
    later = generation([*first.ids, 7], 5)
    core.submit(big)
    core.submit(later, after=first)
    finish(core, big, later)
    assert answer(later) == continuation([*first.ids, 7], 5)


def test_a_request_with_broken_logits_ends_alone():
    core = core_of(broken_at=30)
    good, bad = generation([1, 2], 5), generation([1] * 31, 5)
    run(core, good, bad)
    assert answer(good) == continuation([1, 2], 5)
    assert isinstance(bad.error, Mismatch)
    assert "position 30" in str(bad.error)
    assert core.cache.free_pages == 64


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


@pytest.mark.parametrize(("a", "b", "shared"), [([], [1], 0), ([1, 2], [1, 2, 3], 2), ([1, 2, 4], [1, 2, 3], 2)])
def test_common_prefix(a, b, shared):
    assert common_prefix(a, b) == common_prefix(b, a) == shared

import pytest
from fakes import answer, continuation, core_of, finish, generation, run

from divebell.engine.cache import PAGE
from divebell.engine.pace import STEP_TOKENS, Pace
from divebell.engine.reading import Reading
from divebell.engine.scheduler import MOST_RUNNING


class Steady(Pace):
    """Always the same number of prompt tokens."""

    def __init__(self, tokens: int):
        self.tokens = tokens

    def prompt_tokens(self, decoding):
        return self.tokens

    def took(self, decoding, prompt, seconds):
        """Nothing is learned."""


def steady(tokens: int, pages: int = 64):
    core = core_of(pages)
    core.scheduler._pace = Steady(tokens)
    return core


def chunk_sizes(core, step: int) -> list[int]:
    return (core.model.batches[step].starts[1:] - core.model.batches[step].starts[:-1]).tolist()


def test_a_request_that_does_not_fit_waits_for_another_to_end():
    core = core_of(pages=2)
    first, second = generation([1] * 64, 64), generation([2], 64)
    core.submit(first)
    core.submit(second)
    core.step()
    assert core.scheduler.running == [first]
    finish(core, second)
    assert answer(first) == continuation([1] * 64, 64)
    assert answer(second) == continuation([2], 64)


def test_pages_are_taken_as_they_are_needed():
    core = core_of(pages=8)
    both = generation([1] * 10, 400), generation([2] * 10, 400)  # seven pages each at their ends
    for sequence in both:
        core.submit(sequence)
    core.step()
    assert core.scheduler.running == list(both)
    assert core.tree.available == 6


def test_the_latest_gives_up_its_pages_and_goes_on_later_with_what_is_left_of_them():
    core = core_of(pages=8)
    first, second = generation([1] * 10, 400), generation([2] * 10, 400)
    core.submit(first)
    core.submit(second)
    while second in core.scheduler.running or not second.computed:
        core.step()
    assert core.scheduler.running == [first]
    assert core.scheduler.waiting == [second]
    finish(core, first)
    computed = second.computed
    finish(core, second)
    assert answer(first) == continuation([1] * 10, 400)
    assert answer(second) == continuation([2] * 10, 400)
    assert computed < second.computed
    assert second.reused == 0  # what it had computed itself is no gain


def test_giving_up_costs_nothing_while_nobody_takes_the_pages():
    core = core_of()
    sequence = generation([1] * 100, 30)
    core.submit(sequence)
    for _ in range(10):
        core.step()
    core.scheduler._preempt(sequence)
    core.check_integrity()
    finish(core, sequence)
    assert answer(sequence) == continuation([1] * 100, 30)
    assert sequence.computed == 129


def test_a_reading_that_gave_up_hands_out_each_position_once():
    core = steady(100)
    positions = []
    reading = Reading([1] * 500, lambda position, logits: positions.extend(range(position, position + len(logits))), 30)
    core.submit(reading)
    core.step()
    core.scheduler._preempt(reading)
    finish(core, reading)
    assert positions == list(range(30, 500))


def test_removing_a_request_frees_its_pages_in_every_state():
    core = core_of(pages=2)
    running, waiting = generation([1] * 64, 64), generation([2], 64)
    core.submit(running)
    core.submit(waiting)
    core.step()
    assert core.tree.available == 1
    for sequence in (waiting, running, running):
        core.remove(sequence)
        core.check_integrity()
    assert core.tree.available == 2


def test_prompts_share_a_step_evenly_and_leave_what_they_do_not_need():
    core = core_of()
    run(core, *(generation([n] * size, 2) for n, size in enumerate((2000, 30, 1000))))
    assert sorted(chunk_sizes(core, 0)) == [30, 241, 241]


def test_few_tokens_go_to_the_earliest():
    core = steady(2)
    sequences = [generation([n] * 10, 1) for n in range(3)]
    for sequence in sequences:
        core.submit(sequence)
    core.step()
    assert [sequence.cached for sequence in sequences] == [1, 1, 0]


def test_decoding_goes_on_in_each_step_while_a_prompt_is_read():
    core = steady(7)
    first = generation([1], 100)
    core.submit(first)
    core.step()
    core.submit(generation([2] * 300, 1))
    for tokens in range(2, 30):
        core.step()
        assert len(answer(first)) == tokens
    assert all(size == [1, 7] for size in (chunk_sizes(core, step) for step in range(1, 29)))


def test_no_more_than_the_most_run_at_once():
    core = core_of(pages=200)
    sequences = [generation([n], 4) for n in range(MOST_RUNNING + 6)]
    run(core, *sequences)
    assert max(len(batch.lengths) for batch in core.model.batches) == MOST_RUNNING
    assert all(answer(s) == continuation([n], 4) for n, s in enumerate(sequences))


@pytest.mark.parametrize("same", [3 * PAGE, 3 * PAGE + 17])
def test_a_prefix_that_another_is_computing_is_waited_for(same):
    core = steady(50)
    first, second = generation([5] * same + [1] * 40, 5), generation([5] * same + [2] * 40, 5)
    third = generation([6] * 40, 5)
    for sequence in (first, second, third):
        core.submit(sequence)
    core.step()
    assert core.scheduler.running == [first, third]
    finish(core, first, second, third)
    assert second.reused == same
    assert [answer(s) for s in (first, second)] == [continuation([5] * same + [n] * 40, 5) for n in (1, 2)]


def test_equal_requests_at_once_compute_their_prompt_once():
    core = core_of()
    sequences = [generation([5] * 700, 4) for _ in range(5)]
    run(core, *sequences)
    assert [s.computed for s in sequences] == [703, 4, 4, 4, 4]
    assert all(answer(s) == continuation([5] * 700, 4) for s in sequences)


def test_who_waits_for_a_prefix_goes_on_when_its_maker_is_gone():
    core = steady(50)
    first, second = generation([5] * 300, 5), generation([5] * 310, 5)
    core.submit(first)
    core.submit(second)
    core.step()
    core.remove(first)
    finish(core, second)
    assert second.reused == 50
    assert answer(second) == continuation([5] * 310, 5)


def test_a_reading_that_repeats_what_is_cached_is_not_waited_for():
    core = steady(50)
    run(core, generation([5] * 300, 1))
    core.submit(Reading([5] * 300, lambda position, logits: None))
    core.step()
    second = generation([5] * 300, 1)
    core.submit(second)
    core.step()
    assert second.finished


def test_a_step_has_no_more_tokens_than_the_most():
    core = core_of()
    run(core, *(generation([n] * 900, 3) for n in range(5)))
    assert max(len(batch.ids) for batch in core.model.batches) == STEP_TOKENS

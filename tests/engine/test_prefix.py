import pytest
from fakes import answer, continuation, core_of, finish, generation, run
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from divebell.engine.cache import PAGE
from divebell.engine.prefix import common_prefix
from divebell.engine.reading import Reading


def ran(core, prompt, count=1):
    """A request run to its end."""
    sequence = generation(prompt, count)
    run(core, sequence)
    assert answer(sequence) == continuation(prompt, count)
    return sequence


def test_a_later_turn_computes_only_what_is_new():
    core = core_of()
    first = ran(core, [5] * 100, 10)
    second = ran(core, [*first.ids, 1, 2, 3], 10)
    assert second.reused == 109  # the last token of an answer is never run
    assert second.computed == 4 + 9


@pytest.mark.parametrize("same", [1, 63, 64, 65, 128, 150])
def test_what_two_prompts_have_in_common_is_reused_to_the_token(same):
    core = core_of()
    ran(core, [5] * 150 + [4] * 10)
    assert ran(core, [5] * same + [6] * 30).reused == same
    assert ran(core, [5] * same + [7] * 30).reused == same
    assert ran(core, [5] * 150 + [4] * 9 + [8]).reused == 159  # the first branch is still there


@pytest.mark.parametrize("length", [1, 20, 64, 65, 128])
def test_the_same_prompt_again_runs_its_last_token_alone(length):
    core = core_of()
    ran(core, [5] * length)
    again = ran(core, [5] * length, 3)
    assert (again.reused, again.computed) == (length - 1, 3)


def test_a_running_request_is_branched_off_from():
    core = core_of()
    first = generation([5] * 100, 200)
    core.submit(first)
    for _ in range(60):
        core.step()
    middle = first.ids[:140]
    assert ran(core, [*middle, 1, 2]).reused == 140
    finish(core, first)
    assert answer(first) == continuation([5] * 100, 200)


def test_ends_that_a_longer_one_contains_take_no_page():
    core = core_of()
    ids = ran(core, [5] * 10, 5).ids
    for _ in range(40):
        ids = ran(core, [*ids, 1, 2], 3).ids
    assert core.cache.num_pages - core.cache.free_pages == -(-(len(ids) - 1) // PAGE)


def test_the_least_recently_used_goes_first_and_leaves_before_what_they_grow_on():
    core = core_of(pages=6)
    base = [5] * 64
    ran(core, base + [1] * 64)
    ran(core, base + [2] * 64)
    ran(core, [9] * 64)
    ran(core, base + [1] * 64)  # used again, so its brother is older
    ran(core, [8] * 192)
    assert ran(core, base + [1] * 64).reused == 127
    assert ran(core, [8] * 192).reused == 191
    assert ran(core, base + [2] * 64).reused == 64


def test_pages_in_use_are_never_given_away():
    core = core_of(pages=4)
    long = generation([5] * 100, 100)
    core.submit(long)
    core.step()
    for n in range(6, 20):
        core.submit(generation([n] * 70, 2))
    finish(core, long)
    assert answer(long) == continuation([5] * 100, 100)


def test_a_conversation_as_long_as_the_cache_is_not_copied_but_gone_on_with():
    core = core_of(pages=2)
    first = ran(core, [5] * 100, 10)
    assert ran(core, [*first.ids, 1, 2], 10).reused == 109
    assert ran(core, [*first.ids[:105], 3], 10).reused == 105  # no room for both: the other branch gives way


def test_a_failed_request_leaves_nothing_behind():
    core = core_of(broken_at=100)
    good = generation([5] * 70, 1)
    run(core, good)
    bad = generation([5] * 200, 5)
    run(core, bad)
    assert bad.error
    again = generation([5] * 200, 5)
    run(core, again)
    assert again.reused == 64  # a page that it had borrowed
    assert core.cache.free_pages == core.cache.num_pages - 1


def test_a_reading_reuses_what_comes_before_the_first_position_it_wants():
    core = core_of()
    ran(core, [5] * 200)
    positions = []
    reading = Reading([5] * 150, lambda position, logits: positions.extend(range(position, position + len(logits))), 99)
    run(core, reading)
    assert (reading.reused, positions) == (99, list(range(99, 150)))


def test_forty_turns_that_grow_and_branch_compute_each_token_once():
    """An agent: turns that add results, retries from within an answer, side questions on the same beginning."""
    core, seen, computed = core_of(pages=200), set(), 0
    system = [n % 90 for n in range(300)]
    history, turns = system, []
    for turn in range(40):
        if turn % 5 == 4:
            history = turns[turn // 2][: -(turn % 7) - 1]  # back to an earlier turn, from within its answer
        prompt = [*(system if turn % 11 == 10 else history), *[(turn * 7 + n) % 90 for n in range(turn % 13 + 1)]]
        sequence = ran(core, prompt, turn % 17 + 1)
        known = _known(prompt, seen)
        assert sequence.reused == min(known, len(prompt) - 1)
        assert sequence.computed == len(sequence.ids) - 1 - sequence.reused
        seen |= {tuple(sequence.ids[:n]) for n in range(1, len(sequence.ids))}
        computed += sequence.computed
        history = sequence.ids
        turns.append(history)
    assert computed == len(seen)


def _known(prompt, seen) -> int:
    return next((n for n in range(len(prompt)) if tuple(prompt[: n + 1]) not in seen), len(prompt))


class RequestsAgainstNoCache(RuleBasedStateMachine):
    """Any requests in any order on few pages: each answers as if it were alone, and every page is accounted for."""

    PAGES = 7

    def __init__(self):
        super().__init__()
        self.core = core_of(self.PAGES)
        self.alive, self.histories = [], [[1] * 64]

    @rule(data=st.data(), count=st.integers(1, 90), more=st.lists(st.integers(0, 2), min_size=1, max_size=80))
    def ask(self, data, count, more):
        earlier = data.draw(st.sampled_from(self.histories[-12:]))
        prompt = (earlier[: data.draw(st.integers(0, len(earlier)))] + more)[-350:]
        self._submit(generation(prompt, count, self._adapter(data)))

    def _adapter(self, data):
        return None

    @rule(ids=st.lists(st.integers(0, 1), min_size=1, max_size=150), first=st.integers(0, 100))
    def read(self, ids, first):
        self._submit(Reading(ids, self._expect(ids), min(first, len(ids) - 1)))

    def _submit(self, sequence):
        sequence.must_not_repeat = sequence.reusable
        self.alive.append(sequence)
        self.core.submit(sequence)

    def _expect(self, ids):
        def use(position, logits):
            expected = [continuation(ids[: position + n + 1], 1)[0] for n in range(len(logits))]
            assert logits.argmax(1).tolist() == expected

        return use

    @rule(steps=st.integers(1, 40))
    def advance(self, steps):
        for _ in range(steps):
            self.core.step()
            self.core.check_integrity()
        self._collect()

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def cancel(self, data):
        sequence = data.draw(st.sampled_from(self.alive))
        self.alive.remove(sequence)
        self.core.remove(sequence)
        self.histories.append(list(sequence.ids))

    def _collect(self):
        for sequence in [s for s in self.alive if s.finished]:
            self.alive.remove(sequence)
            self.histories.append(sequence.ids)
            if not isinstance(sequence, Reading):
                prompt = sequence.ids[: sequence.given]
                assert answer(sequence) == continuation(prompt, len(sequence.ids) - len(prompt), sequence.adapter)

    @invariant()
    def pages_add_up(self):
        self.core.check_integrity()

    def teardown(self):
        for _ in range(5000):
            if not self.alive:
                break
            self.advance(1)
        assert not self.alive, "somebody waits for ever"
        assert self.core.tree.available == self.PAGES


class RequestsWithRoom(RequestsAgainstNoCache):
    """With pages for all, what need not be run again is run once, by whoever comes first."""

    PAGES = 2000

    def __init__(self):
        super().__init__()
        self.first_runs, self.fresh, self.step = {}, set(), 0
        scheduled, attach = self.core.scheduler.schedule, self.core.tree.attach

        def watched_schedule():
            self.step += 1
            chunks = scheduled()
            self._watch(chunks)
            return chunks

        def watched_attach(sequence):
            sequence.admitted = self.step
            attach(sequence)

        self.core.scheduler.schedule, self.core.tree.attach = watched_schedule, watched_attach

    def _watch(self, chunks):
        for chunk in chunks:
            sequence = chunk.sequence
            for position in range(sequence.cached, sequence.cached + len(chunk.tokens)):
                history = tuple(sequence.ids[: position + 1])
                if position < sequence.must_not_repeat:
                    assert history not in self.fresh
                    assert self.first_runs.get(history, self.step) >= sequence.admitted
                    self.fresh.add(history)
                self.first_runs.setdefault(history, self.step)


RequestsAgainstNoCache.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestRequestsAgainstNoCache = RequestsAgainstNoCache.TestCase
RequestsWithRoom.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestRequestsWithRoom = RequestsWithRoom.TestCase


def test_integrity_check_notices_a_wrong_count():
    core = core_of()
    sequence = generation([1] * 100, 5)
    core.submit(sequence)
    core.step()
    sequence.path[0].users += 1
    with pytest.raises(RuntimeError, match="miscounted"):
        core.check_integrity()


@pytest.mark.parametrize(("a", "b", "shared"), [([], [1], 0), ([1, 2], [1, 2, 3], 2), ([1, 2, 4], [1, 2, 3], 2)])
def test_common_prefix(a, b, shared):
    assert common_prefix(a, b) == common_prefix(b, a) == shared
    assert common_prefix([7] * 500 + a, [7] * 500 + b) == 500 + shared

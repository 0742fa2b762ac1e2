"""Adapters beside a model: chosen by request, never sharing what they computed, loaded and dropped while it runs."""

import pytest
from fakes import FakeAdapter, answer, continuation, core_of, fake_llm, finish, generation, run
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from test_prefix import RequestsAgainstNoCache

from divebell.engine.cache import PAGE
from divebell.errors import BadInput, OverBudget

ONE, TWO = FakeAdapter(b"1" * 16), FakeAdapter(b"2" * 16)
PAGE_BYTES = PAGE * 3 * 4  # of the fake model


def core_with(*adapters, pages=64, folder=None):
    core = core_of(pages, folder)
    for number, adapter in enumerate(adapters):
        core.adapters.add(str(number), adapter, core.adapters.reserve(str(number), adapter.nbytes, 0))
    return core


@pytest.mark.parametrize("length", [10, PAGE, 200])
def test_one_prompt_under_different_adapters_is_computed_for_each_and_once(length):
    core = core_with(ONE, TWO)
    for adapter in (None, ONE, TWO):
        first, again = generation([5] * length, 3, adapter), generation([5] * length, 3, adapter)
        run(core, first)
        run(core, again)
        assert answer(first) == answer(again) == continuation([5] * length, 3, adapter)
        assert (first.reused, again.reused) == (0, length - 1)


def test_different_adapters_run_side_by_side_without_waiting_for_each_other():
    core = core_with(ONE, TWO)
    sequences = [generation([5] * 200, 5, adapter) for adapter in (ONE, None, TWO, None, ONE)]
    run(core, *sequences)
    assert [answer(s) for s in sequences] == [continuation([5] * 200, 5, s.adapter) for s in sequences]
    assert any(len(set(batch.adapters)) == 3 for batch in core.model.batches)
    assert [s.reused for s in sequences] == [0, 0, 0, 199, 199]


def test_batches_without_adapters_carry_none():
    core = core_with(ONE)
    run(core, generation([1, 2, 3], 3))
    assert all(batch.adapters == () for batch in core.model.batches)


def test_pages_on_disk_are_an_adapters_own(tmp_path):
    core = core_with(ONE, TWO, folder=tmp_path)
    run(core, generation([5] * 200, 3, ONE))
    core.close()
    core = core_with(ONE, TWO, folder=tmp_path)
    for adapter, reused in ((None, 0), (TWO, 0), (ONE, 199)):
        sequence = generation([5] * 200, 3, adapter)
        run(core, sequence)
        assert (sequence.reused, answer(sequence)) == (reused, continuation([5] * 200, 3, adapter))


def test_a_dropped_adapter_ends_what_has_begun_and_then_gives_its_room_back():
    core = core_with(FakeAdapter(b"1" * 16, 10 * PAGE_BYTES))
    adapter = core.adapters.get("0")
    sequence, late = generation([5] * 100, 80, adapter), generation([5], 3, adapter)
    core.submit(sequence)
    core.step()
    core.drop_adapter("0")
    with pytest.raises(BadInput, match="dropped"):
        core.submit(late)
    with pytest.raises(BadInput, match="no adapter '0'; loaded: none"):
        core.adapters.get("0")
    assert core.tree.available < 64 - 10
    finish(core, sequence)
    assert answer(sequence) == continuation([5] * 100, 80, adapter)
    assert core.cache.free_pages == 64


def test_a_cancelled_request_lets_its_adapter_go_too():
    core = core_with(ONE)
    sequence = generation([5] * 100, 80, ONE)
    core.submit(sequence)
    core.step()
    core.drop_adapter("0")
    core.remove(sequence)
    assert core.cache.free_pages == 64


def test_the_same_adapter_under_two_names_shares_pages_until_both_are_gone():
    core = core_with(ONE, FakeAdapter(ONE.key))
    run(core, generation([5] * 200, 3, ONE))
    core.drop_adapter("0")
    other = generation([5] * 200, 3, core.adapters.get("1"))
    run(core, other)
    assert other.reused == 199
    core.drop_adapter("1")
    assert core.cache.free_pages == 64


def test_an_adapter_takes_its_room_from_idle_pages_and_leaves_one_context():
    llm = fake_llm(pages=20, context=10 * PAGE)
    llm.generate([5] * 500, max_tokens=100)

    def add(name, pages):
        return llm.engine.add_adapter(name, FakeAdapter(name.encode() * 16, pages * PAGE_BYTES), 10)

    with pytest.raises(OverBudget, match=r"'a' takes .* of the cache can be spared; give more ram"):
        add("a", 11)
    add("a", 10)
    assert llm.engine.state()["pages_free"] == 10
    with pytest.raises(OverBudget):
        add("b", 1)
    assert len(llm.generate([5] * 500, max_tokens=140, adapter="a").token_ids) == 140
    llm.engine.check_integrity()
    llm.drop_adapter("a")
    add("b", 10)
    assert llm.adapters == ("b",)


def test_an_adapter_that_cannot_be_made_ready_leaves_nothing_behind(llm):
    def broken(changes):
        raise MemoryError

    llm.core.model.adapter = broken
    with pytest.raises(MemoryError):
        llm.engine.add_adapter("a", ONE, 1)
    del llm.core.model.adapter
    llm.engine.add_adapter("a", ONE, 1)
    assert llm.generate([5], max_tokens=3, adapter="a").token_ids == tuple(continuation([5], 3, ONE))
    llm.engine.check_integrity()


def test_a_name_is_taken_once(llm):
    llm.engine.add_adapter("a", ONE, 1)
    with pytest.raises(BadInput, match="already"):
        llm.engine.add_adapter("a", TWO, 1)
    for name in ("", "a/b", "a b", "a\n", "x" * 101, None):
        with pytest.raises(BadInput, match="adapter"):
            llm.add_adapter(name, "nowhere")
    with pytest.raises(BadInput, match="no adapter 'b'; loaded: 'a'"):
        llm.generate([1], adapter="b")
    with pytest.raises(BadInput, match="no adapter 'b'"):
        llm.drop_adapter("b")


def test_every_way_to_ask_takes_an_adapter(llm):
    llm.engine.add_adapter("a", ONE, 1)
    prompt, expected = [3, 4], tuple(continuation([3, 4], 6, ONE))
    assert llm.generate(prompt, max_tokens=6, adapter="a").token_ids == expected
    assert [c.token_ids for c in llm.batch([prompt, prompt], max_tokens=6, adapter="a")] == [expected] * 2
    stream = llm.stream(prompt, max_tokens=6, adapter="a")
    list(stream)
    assert stream.completion.token_ids == expected
    turn = [{"role": "user", "content": "hi"}]
    ids = llm.chat_prompt(turn).ids
    assert llm.chat(turn, max_tokens=6, adapter="a").token_ids == tuple(continuation(ids, 6, ONE))
    assert llm.logits(prompt, adapter="a")[-1].argmax() == expected[0] != llm.logits(prompt)[-1].argmax()
    assert llm.score([*prompt, expected[0]], 2, adapter="a") > llm.score([*prompt, expected[0]], 2)


class RequestsWithAdapters(RequestsAgainstNoCache):
    """Requests of any adapter, which come and go meanwhile."""

    def __init__(self):
        super().__init__()
        self.loaded = {}

    def _adapter(self, data):
        return data.draw(st.sampled_from([None, *self.loaded.values()]))

    @rule(name=st.sampled_from("ab"), key=st.sampled_from([b"1" * 16, b"2" * 16]))
    def swap(self, name, key):
        if name in self.loaded:
            self.core.drop_adapter(name)
            del self.loaded[name]
        elif self.core.tree.available > 1:
            adapter = self.loaded[name] = FakeAdapter(key, nbytes=0)
            self.core.adapters.add(name, adapter, self.core.adapters.reserve(name, 0, 0))


RequestsWithAdapters.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestRequestsWithAdapters = RequestsWithAdapters.TestCase

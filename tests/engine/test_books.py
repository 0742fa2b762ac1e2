"""Shares of steps: whatever requests come together, nothing that was measured is lost or counted twice."""

from threading import Thread
from types import SimpleNamespace

import pytest
from fakes import FakeModel
from hypothesis import given
from hypothesis import strategies as st

from divebell import load
from divebell.engine.books import Books, Meter, Spent, weighing
from divebell.engine.cache import Cache
from divebell.engine.core import Core
from divebell.engine.generation import Generation
from divebell.engine.sampling import Sampling


class FakeMeter:
    """Joules that rise by another amount at each reading."""

    def __init__(self):
        self.joules, self.readings = 0.0, 0

    def __call__(self) -> float:
        self.readings += 1
        self.joules += 1 + self.readings % 7
        return self.joules


def _sequence(tokens: int, cached: int = 0) -> SimpleNamespace:
    return SimpleNamespace(spent=Spent(), cached=cached + tokens, computed=tokens, finished=False)


def test_a_step_is_shared_by_work():
    books = Books(Meter(iter([0.0, 10.0, 40.0]).__next__))
    long, short = _sequence(3), _sequence(1)
    chunks = [SimpleNamespace(sequence=one, tokens=[0] * one.computed) for one in (long, short)]
    books.charge(books.begin(), chunks, 2.0)
    assert (long.spent.joules, short.spent.joules) == (22.5, 7.5)
    assert (long.spent.seconds, short.spent.seconds) == (1.5, 0.5)


def test_deep_tokens_weigh_more():
    config = SimpleNamespace(layers=2, heads=4, head_dim=8)
    weigh = weighing(config, active=1000)
    assert weigh(1, 0) == 1000 + 2 * 64
    assert weigh(1, 99) == 1000 + 2 * 64 * 100
    latent = SimpleNamespace(heads=4, rank=16, rope=8)
    assert weighing(SimpleNamespace(layers=1, latent=latent), 0)(1, 0) == 160


def test_idle_time_is_what_no_step_took():
    meter = Meter(FakeMeter(), iter([0.0, 1.0, 3.0, 3.5, 4.5]).__next__)
    step = meter.begin()
    meter.end(step)
    assert meter.take_idle().seconds == 1.0 + 0.5
    assert meter.take_idle().seconds == 1.0


@given(st.lists(st.sampled_from(["begin", "end", "idle"]), max_size=60))
def test_all_that_is_read_is_handed_out_once(events):
    read = FakeMeter()
    meter = Meter(read)
    first, spent, running = read.joules, 0.0, []
    for event in events:
        if event == "begin":
            running.append(meter.begin())
        elif event == "end" and running:
            spent += meter.end(running.pop(0))
        elif event == "idle":
            spent += meter.take_idle().joules
    spent += sum(meter.end(step) for step in running) + meter.take_idle().joules
    assert spent == pytest.approx(read.joules - first)


def test_a_hundred_requests_at_once_sum_to_what_the_machine_took(tiny):
    """Through the real engine, on threads: shares of answers and idle time against the meter's own total."""
    read, ended = FakeMeter(), []
    with load(tiny("llama"), threads=1) as llm:
        meter = Meter(read)
        first = read.joules
        llm.engine.keep(Books(meter, weighing(llm.engine.config, llm.info.active_parameters), ended.append))
        prompts = [[1 + index % 50] * (1 + index % 13) for index in range(100)]
        threads = [Thread(target=llm.generate, args=(ids,), kwargs={"max_tokens": 3}) for ids in prompts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        llm.engine.check_integrity()
        answers = sum(sequence.spent.joules for sequence in ended)
        total = answers + meter.take_idle().joules
    assert len(ended) == 100
    assert min(sequence.spent.joules for sequence in ended) > 0
    assert total == pytest.approx(read.joules - first, rel=1e-9)


def _core(model, ended):
    core = Core(model, Cache(model.cache_layout, model.cache_dtype, 8), lambda: model.seconds)
    core.books = Books(ended=ended.append)
    return core


def test_what_is_cancelled_is_written_down_once():
    ended = []
    core = _core(FakeModel(), ended)
    unborn, cut = (Generation([1, 2], Sampling(max_tokens=9), 11, 97, frozenset()) for _ in range(2))
    core.submit(cut)
    core.step()
    core.submit(unborn)
    for sequence in (cut, unborn, cut):
        core.remove(sequence)
    assert ended == [cut]
    assert cut.spent.seconds == pytest.approx(core.model.seconds)


def test_a_step_that_fails_is_over_for_the_meter():
    model = FakeModel(broken_at=0)
    core = _core(model, [])
    meter = Meter(FakeMeter())
    core.books = Books(meter)
    model.step = None
    core.submit(Generation([1, 2], Sampling(max_tokens=9), 11, 97, frozenset()))
    with pytest.raises(TypeError):
        core.step()
    assert not meter._running

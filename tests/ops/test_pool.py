"""The thread pool as the ops see it: any number of threads, many callers, a forked child."""

import os
import threading

import numpy as np
import pytest
import stored

from divebell.ops import native
from divebell.weights.formats import F32


@pytest.fixture(autouse=True)
def _restore_threads():
    before = native.threads()
    yield
    native.set_threads(before)


def work():
    weight = native.weight(stored.random_tensor(F32, 400, 256))
    x = np.random.default_rng(0).standard_normal((4, 256)).astype(np.float32)
    return lambda: native.linears(x, [weight])[0]


def test_set_threads():
    for count in (1, 2, 7):
        native.set_threads(count)
        assert native.threads() == count
        work()()


@pytest.mark.parametrize("count", [0, -1, 1025])
def test_a_count_that_makes_no_sense_is_refused(count):
    with pytest.raises(ValueError, match="allowed are 1 to 1024"):
        native.set_threads(count)


def test_many_callers_while_the_count_changes():
    run, results = work(), []
    expected = run()
    callers = [threading.Thread(target=lambda: results.extend(run() for _ in range(100))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for i in range(50):
        native.set_threads(1 + i % 4)
    for caller in callers:
        caller.join(60)
    assert len(results) == 400
    assert all((r == expected).all() for r in results)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_makes_its_own_threads():
    native.set_threads(3)
    run = work()
    expected = run()
    child = os.fork()
    if not child:
        os._exit(0 if (run() == expected).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert (run() == expected).all()

import gc
import threading

import numpy as np
import pytest

from divebell import _native
from divebell.ops import native


def test_what_was_called_is_called_again_with_what_the_arrays_hold_now():
    x, recording = np.ones((2, 3), np.float32), native.Recording()
    with recording:
        total = native.add(native.add(x, x), x)
    assert (total == 3).all()
    x[:] = 5
    recording.run()
    assert (total == 15).all()


def test_it_keeps_the_arrays():
    recording = native.Recording()
    with recording:
        native.add(np.ones((64, 4096), np.float32), np.ones((64, 4096), np.float32))
    gc.collect()
    taken = [np.zeros((64, 4096), np.float32) for _ in range(8)]
    recording.run()
    assert all((array == 0).all() for array in taken)


def test_only_what_its_own_thread_calls_while_it_is_open():
    x, recording = np.ones((1, 4), np.float32), native.Recording()
    with recording:
        native.add(x, x)
        other = threading.Thread(target=native.add, args=(x, x))
        other.start()
        other.join()
    native.add(x, x)
    assert [name for name, _ in recording.timed()] == ["add"]


def test_one_at_a_time():
    with native.Recording(), pytest.raises(RuntimeError, match="open on this thread already"), native.Recording():
        pass
    with native.Recording():
        pass


def test_one_that_is_dropped_while_it_is_open():
    recording = native.Recording()
    recording.__enter__()
    del recording
    with native.Recording():
        pass


def test_what_the_numbers_can_do_wrong_is_checked_each_time():
    positions, recording = np.zeros(1, np.int32), native.Recording()
    with recording:
        native.rotate(np.ones((1, 1, 4), np.float32), positions, np.ones((3, 4), np.float32), True)
    positions[0] = 3
    with pytest.raises(ValueError, match="position 3 is outside the table's 0 to 2"):
        recording.run()
    with pytest.raises(ValueError, match="position 3 is outside"):
        recording.timed()


def test_a_call_that_is_refused_is_not_noted():
    recording = native.Recording()
    with recording, pytest.raises(ValueError, match="differ in shape"):
        _native.add(np.ones((1, 2), np.float32), np.ones((1, 3), np.float32), np.ones((1, 2), np.float32))
    assert recording.timed() == []

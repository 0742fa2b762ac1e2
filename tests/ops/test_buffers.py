import gc
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divebell import _native
from divebell.ops import native

MANY = 1 << 16


@pytest.fixture(autouse=True)
def nothing_kept():
    gc.collect()
    for _ in range(2):
        native.let_go()


def test_what_is_dropped_is_taken_again():
    array = _native.empty((3, MANY))
    assert array.shape == (3, MANY)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.ctypes.data % 64 == 0
    place = array.ctypes.data
    del array
    assert _native.empty((MANY, 3)).ctypes.data == place


def test_a_view_keeps_it():
    view = _native.empty((4, MANY))[1:]
    view[:] = 7
    others = [_native.empty((4, MANY)) for _ in range(3)]
    for other in others:
        other[:] = 0
    assert (view == 7).all()


WANTED_AGAIN = f"""
from divebell import _native
from divebell.ops import native

arrays = [_native.empty(({MANY},)) for _ in range(3)]
del arrays
gone = [native.let_go()]
_native.empty(({MANY},))
print(*gone, *(native.let_go() for _ in range(3)))
"""

TOO_MANY = """
from divebell import _native
from divebell.ops import native

arrays = [_native.empty(((1 << 24) - 16,)) for _ in range(6)]  # with its header 64 MiB each
del arrays
native.let_go()
print(native.let_go())
"""


def alone(program):
    """The numbers that it prints, in a process where nobody else takes memory or lets it go."""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [int(number) for number in ran.stdout.split()]


def test_what_is_wanted_again_and_again_stays_and_the_rest_is_let_go():
    size = 4 * MANY + (1 << 16)  # with its header, in quarters of 256 KiB
    assert alone(WANTED_AGAIN) == [0, 2 * size, size, 0]  # at first all were wanted since the last call


def test_at_most_256_mebibytes_are_kept():
    assert alone(TOO_MANY) == [256 << 20]


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 5000)), max_size=60))
def test_no_two_arrays_share_memory(steps):
    held: dict[int, np.ndarray] = {}
    for slot, size in steps:
        held.pop(slot, None)
        held[slot] = _native.empty((size,))
        held[slot][:] = slot
        native.let_go()
        assert all((array == own).all() for own, array in held.items())


FORKS = f"""
import os, signal, numpy
from threading import Event, Thread
from divebell import _native

stop = Event()

def take_and_let_go():
    while not stop.is_set():
        arrays = [_native.empty(({MANY},)) for _ in range(50)]
        arrays.clear()
        _native.let_go()
        _native.let_go()

other, ended = Thread(target=take_and_let_go), []
other.start()
for _ in range(30):
    child = os.fork()
    if not child:
        signal.alarm(20)
        _native.empty(({MANY},))[:] = 1
        os._exit(0)
    ended.append(os.waitpid(child, 0)[1])
stop.set()
other.join()
print(sum(map(bool, ended)))
"""


def test_a_child_forked_while_memory_is_let_go_can_take_some():
    """By a process of its own, whose few pages are soon forked."""
    assert alone(FORKS) == [0]


@pytest.mark.parametrize("shape", [(1 << 41,), (1 << 33, 1 << 33), (1 << 63, 4)])
def test_a_shape_that_makes_no_sense_is_refused(shape):
    with pytest.raises(ValueError, match="too large a shape"):
        _native.empty(shape)

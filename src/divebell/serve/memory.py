"""What the process takes from the system, and how little of it is left lying about."""

import ctypes
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from divebell.engine.allocator import ARENA_MAX, tell

ARENAS = 2
EVERY = 2.0  # seconds


def share_arenas() -> None:
    """Lets all threads take memory from the same two places; to be called before there are any.

    glibc gives each thread a place of its own. What the grammars and answers of ended requests leave free in one is no
    use to the others, so a server would hold several times what it needs.
    """
    tell(ARENA_MAX, ARENAS)


def give_back() -> None:
    """Hands the system what lies free in the allocator's arenas, and of steps, which takes a millisecond or some.

    By itself glibc only shortens their ends. A prompt of 120 kB takes 26 MB while it is cut into tokens, and a few
    small things that come in the meantime and stay would keep all of that.
    """
    from divebell.ops.native import let_go

    let_go()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        return


def keep_giving_back() -> None:
    """From now on, in a thread of its own."""
    Thread(target=_give_back_forever, name="divebell memory", daemon=True).start()


def _give_back_forever() -> None:
    while True:
        time.sleep(EVERY)
        give_back()


@contextmanager
def uncollected() -> Iterator[None]:
    """Modules and models are loaded without looking for garbage again and again: a tenth of the time to start."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def keep_all() -> None:
    """What there is now stays to the end, and is never looked through for garbage; what comes later is."""
    gc.freeze()
    gc.enable()

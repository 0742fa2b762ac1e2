"""What the process takes from the system, and how little of it is left lying about."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

ARENAS = 2
_M_ARENA_MAX = -8  # glibc's malloc.h


def share_arenas() -> None:
    """Lets all threads take memory from the same two places; to be called before there are any.

    glibc gives each thread a place of its own. What the grammars and answers of ended requests leave free in one is no
    use to the others, so a server would hold several times what it needs. Other libraries have no such setting.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)
    except (AttributeError, OSError):
        return


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

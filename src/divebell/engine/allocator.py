"""What the C library does with memory that is let go, where it can be told (glibc's mallopt)."""

import ctypes
from contextlib import suppress

MMAP_THRESHOLD, TRIM_THRESHOLD, ARENA_MAX = -3, -1, -8  # glibc's malloc.h


def tell(setting: int, value: int) -> None:
    """Does nothing with other libraries, which have no such settings."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(setting, value)


def give_back() -> None:
    """Hands the system what lies free in the allocator's arenas, and of steps, which takes a millisecond or some.

    By itself glibc only shortens their ends. A prompt of 120 kB takes 26 MB while it is cut into tokens, and a few
    small things that come in the meantime and stay would keep all of that.
    """
    from divebell.ops.native import let_go

    let_go()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def give_back_at_once(size: int) -> None:
    """From now on whatever is larger than `size`, in bytes, goes back to the system when it is let go.

    By itself glibc keeps up to 32 MiB of each piece for later, and pieces of other sizes do not fit into what is free:
    a third more memory than is in use. It costs the system's time for new pages.
    """
    tell(MMAP_THRESHOLD, size)
    tell(TRIM_THRESHOLD, size)

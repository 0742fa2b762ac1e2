"""What the process takes from the system, and how little of it is left lying about."""

import ctypes

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

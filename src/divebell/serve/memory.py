"""What the process takes from the system, and how little of it is left lying about."""

import time
from threading import Thread

from divebell.engine.allocator import ARENA_MAX, give_back, tell

ARENAS = 2
EVERY = 2.0  # seconds


def share_arenas() -> None:
    """Lets all threads take memory from the same two places; to be called before there are any.

    glibc gives each thread a place of its own. What the grammars and answers of ended requests leave free in one is no
    use to the others, so a server would hold several times what it needs.
    """
    tell(ARENA_MAX, ARENAS)


def keep_giving_back() -> None:
    """From now on, in a thread of its own."""
    Thread(target=_give_back_forever, name="divebell memory", daemon=True).start()


def _give_back_forever() -> None:
    while True:
        time.sleep(EVERY)
        give_back()

"""When Python looks for garbage: what is loaded is none, and looking through it again and again takes time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Modules and models are loaded without looking for garbage again and again: a tenth of the time to start."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def keep_all() -> None:
    """What there is now stays to the end, and is never looked through for garbage; what comes later is."""
    gc.freeze()
    gc.enable()

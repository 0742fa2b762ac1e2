import ctypes
import gc
import re
from pathlib import Path

import pytest

from divebell.engine.allocator import give_back
from divebell.serve.memory import keep_all, uncollected


def test_nothing_is_collected_until_all_is_loaded_or_has_failed():
    @uncollected()
    def load():
        raise ValueError(f"collecting: {gc.isenabled()}")

    with pytest.raises(ValueError, match="collecting: False"):
        load()
    assert gc.isenabled()


def test_what_is_loaded_is_not_looked_through_again_and_what_comes_later_is():
    with uncollected():
        loaded = [[]]
        keep_all()
        try:
            assert gc.isenabled()
            later = [[]]
            watched = set(map(id, gc.get_objects()))
            assert id(later) in watched
            assert id(loaded) not in watched
        finally:
            gc.unfreeze()


def anonymous():
    """Bytes of this process."""
    found = re.search(r"^Anonymous:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) << 10


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc's alone")
def test_what_lies_free_between_things_that_stay_is_given_back():
    pieces = [bytes(4000) for _ in range(20_000)]
    stays = pieces[::1000]
    before = anonymous()
    pieces.clear()
    give_back()
    assert anonymous() < before - (60 << 20)
    assert len(stays) == 20

import ctypes
import re
from pathlib import Path

import pytest

from divebell.engine.allocator import give_back


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

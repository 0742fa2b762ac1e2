"""Memory that is let go, seen from outside: in a process of its own, as it is told for good."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from pathlib import Path

import numpy as np

from divebell.engine.allocator import give_back, give_back_at_once

def anonymous():
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(text.split("Anonymous:")[1].split()[0]) * 1024

if sys.argv[1] == "always":
    give_back_at_once(1 << 20)
np.ones(2_000_000)  # so that glibc has seen a large one let go
before = anonymous()
large, small = [], []
for _ in range(40):
    large.append(np.ones(300_000))
    small.append(np.ones(300))  # stays between them
del large
if sys.argv[1] == "once":
    give_back()
print(anonymous() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_what_is_let_go_goes_back():
    kept, once, always = (
        int(subprocess.run([sys.executable, "-c", SCRIPT, how], stdout=subprocess.PIPE, check=True).stdout)
        for how in ("untold", "once", "always")
    )
    assert max(once, always) < 2e6 < 20e6 < kept

"""How many cores a process may use, of what Linux tells; the folders are made up, the processors are this machine's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from divebell import _native

ALLOWED = sorted(os.sched_getaffinity(0))


def topology(folder: Path, siblings: dict[int, str], name: str = "core_cpus_list") -> str:
    for processor, told in siblings.items():
        place = folder / f"cpu{processor}" / "topology"
        place.mkdir(parents=True)
        (place / name).write_text(told + "\n")
    return str(folder)


def group(folder: Path, told: str) -> str:
    (folder / "cpu.max").write_text(told + "\n")
    return str(folder)


@pytest.mark.parametrize("name", ["core_cpus_list", "thread_siblings_list"])
def test_processors_of_one_core_count_once(name, tmp_path):
    one = dict.fromkeys(ALLOWED, "0-255")
    assert _native.cores(topology(tmp_path / "one", one, name), "") == 1
    each = {processor: str(processor) for processor in ALLOWED}
    assert _native.cores(topology(tmp_path / "each", each, name), "") == len(ALLOWED)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("max 100000", len(ALLOWED)),
        ("50000 100000", 1),
        ("100000 100000", 1),
        ("100001 100000", min(2, len(ALLOWED))),
        ("99999900000 100000", len(ALLOWED)),
        ("0 100000", len(ALLOWED)),
        ("100000 0", len(ALLOWED)),
        ("-1 -1", len(ALLOWED)),
        ("100000000000000000000 100000", len(ALLOWED)),
        ("many", len(ALLOWED)),
        ("", len(ALLOWED)),
    ],
)
def test_no_more_than_the_quota_leaves(told, expected, tmp_path):
    assert _native.cores("", group(tmp_path, told)) == expected


def test_where_nothing_is_told_each_processor_counts():
    assert _native.cores("/nowhere", "/nowhere") == len(ALLOWED)


def test_threads_are_of_the_cores_that_a_process_may_run_on():
    told = (
        f"import os; os.sched_setaffinity(0, {{{ALLOWED[0]}}})\nfrom divebell import _native\nprint(_native.threads())"
    )
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "1"
    assert _native.cores() <= len(ALLOWED)

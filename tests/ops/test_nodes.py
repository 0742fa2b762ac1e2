"""Machines with several nodes of memory: made up, of this machine's processors and of what Linux would tell of them."""

import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import stored
from nets import net

from divebell import _native
from divebell.ops import native
from divebell.weights.formats import Q4_0

ALLOWED = sorted(os.sched_getaffinity(0))
NOWHERE = 900  # a node that no machine of a few has, so that nothing can be moved to it


def told(folder: Path, nodes: dict[int, str], online: str | None = None) -> str:
    (folder / "online").write_text((",".join(map(str, nodes)) if online is None else online) + "\n")
    for number, processors in nodes.items():
        (folder / f"node{number}").mkdir()
        (folder / f"node{number}" / "cpulist").write_text(processors + "\n")
    return str(folder)


@pytest.fixture(autouse=True)
def _as_it_was():
    before = native.threads()
    yield
    _native.find_nodes("/sys/devices/system/node")
    native.set_threads(before + 1)  # threads that know no other nodes
    native.set_threads(before)


@pytest.mark.parametrize(
    ("nodes", "online", "expected"),
    [
        ({0: "0-1023", 1: "1024-2047"}, None, 1),  # one without a processor of ours
        ({0: "0-1023", 3: "0-1023"}, "0,3", 2),
        ({0: f"{ALLOWED[-1]}", 1: f"{ALLOWED[0]},5000"}, "0-1", 2),
        ({0: "0-1023", 1: "0-1023", 2: "0-1023"}, "0-2", 3),
        ({0: "", 1: "0-1023"}, None, 1),
        ({0: "0-1023"}, "many", 1),
        ({0: "0-1023", 1: "1-", 2: "-4", 3: "x", 4: "3-1"}, None, 1),
        ({}, "", 1),
    ],
)
def test_nodes_with_processors_that_may_be_used_count(nodes, online, expected, tmp_path):
    assert _native.find_nodes(told(tmp_path, nodes, online)) == expected
    assert _native.nodes() == expected


def test_where_nothing_is_told_there_is_one():
    assert _native.find_nodes("/nowhere") == 1


def results():
    """Of products and of experts."""
    rng = np.random.default_rng(0)
    weights = [native.weight(stored.random_tensor(Q4_0, rows, 1024)) for rows in (700, 33, 2048)]
    x = rng.standard_normal((3, 1024)).astype(np.float32)
    nets = [net("Q4_K", "Q6_K", 256, 512, 10 * e) for e in range(4)]
    ids = np.array([[0, 2], [1, 3], [2, 1]], np.int32)
    mixed = native.moe(x[:, :256], ids, rng.random((3, 2), np.float32), native.experts(*zip(*nets, strict=True)))
    return [*native.linears(x, weights), mixed]


def anew(threads: int) -> None:
    """Threads that begin now."""
    native.set_threads(threads + 1)
    results()
    native.set_threads(threads)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("nodes", [2, 3])
def test_the_same_bits_with_any_number_of_nodes(threads, nodes, tmp_path):
    native.set_threads(threads)
    expected = results()
    _native.find_nodes(told(tmp_path, dict.fromkeys(range(nodes), f"0-{ALLOWED[-1]}")))
    anew(threads)
    for ours, theirs in zip(results(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_threads_stay_on_their_node_and_the_caller_where_it_was(tmp_path):
    _native.find_nodes(told(tmp_path, {0: f"0-{ALLOWED[-1]}", 1: str(ALLOWED[-1])}))
    anew(2)
    before = {int(task.name) for task in Path("/proc/self/task").iterdir()}
    anew(4)
    results()
    begun = {int(task.name) for task in Path("/proc/self/task").iterdir()} - before
    expected, end = sorted([tuple(ALLOWED), (ALLOWED[-1],), (ALLOWED[-1],)]), time.monotonic() + 60
    while (kept := sorted(tuple(sorted(os.sched_getaffinity(thread))) for thread in begun)) != expected:
        assert time.monotonic() < end, kept  # a thread says so when it first runs
        time.sleep(0.01)
    assert sorted(os.sched_getaffinity(0)) == ALLOWED


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    native_folder, program = Path(__file__).parents[2] / "native", tmp_path_factory.mktemp("nodes") / "check"
    sources = [native_folder / f"{name}.cpp" for name in ("cores", "nodes", "pool", "sysfs")]
    check = Path(__file__).with_name("nodes_check.cpp")
    subprocess.run(["g++", "-std=c++20", f"-I{native_folder}", check, *sources, "-pthread", "-o", program], check=True)
    return program


@pytest.mark.slow
@pytest.mark.parametrize("node", [0, 1][: len(ALLOWED)])
def test_a_thread_is_first_handed_the_rows_of_its_own_node(node, program, tmp_path):
    """Of 40 rows a node has 20; of 9 the first 5, the other 4."""
    folder = told(tmp_path, {0: str(ALLOWED[0]), 1: str(ALLOWED[-1])})
    done = subprocess.run([program, folder, str(node)], capture_output=True, text=True, check=True)
    pieces = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    own = [[(0, 6), (6, 12), (12, 18), (18, 20), (40, 45)], [(20, 26), (26, 32), (32, 38), (38, 40), (45, 49)]]
    assert pieces == own[node] + own[1 - node]


def test_rows_that_can_not_be_moved_stay_as_they_are(tmp_path):
    _native.find_nodes(told(tmp_path, {0: "0-1023", NOWHERE: "0-1023"}))
    matrix = np.random.default_rng(0).integers(0, 256, 9 << 20, np.uint8)
    before = matrix.copy()
    _native.place_on_nodes(matrix[77:])
    np.testing.assert_array_equal(matrix, before)

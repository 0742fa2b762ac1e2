import mmap
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file
from stored import random_tensor

from divebell import _native
from divebell.engine import residence
from divebell.engine.residence import bring_in
from divebell.ops import native
from divebell.weights import arrangement
from divebell.weights.checkpoint import open_checkpoint
from divebell.weights.formats import F32, Q4_0
from divebell.weights.lanes import IN_LANES
from divebell.weights.mapped import let_go, map_file
from divebell.weights.tensor import Tensor

LARGE = 2 << 20
TOLD = _native.spread_over_nodes(True) and _native.spread_over_nodes(False)
told_where = pytest.mark.skipif(not TOLD, reason="a system that does not let a process say where its memory lies")


@pytest.fixture
def written(tmp_path):
    """A file of 9 MB and a bit in the page cache's small pages, and its bytes."""
    content = np.random.default_rng(0).integers(0, 256, 9 * 1024 * 1024 + 77, np.uint8)
    (tmp_path / "weights").write_bytes(content)
    return tmp_path / "weights", content


def checkpoint_of(path):
    file = np.frombuffer(map_file(path), np.uint8)
    tensors = {name: Tensor(name, F32, (25,), file[begin:][:100]) for name, begin in (("a", 0), ("b", 5000))}
    return SimpleNamespace(tensors=tensors), file


def test_a_file_is_the_same_afterwards_and_in_large_pages_where_the_system_grants_them(written):
    checkpoint, file = checkpoint_of(written[0])
    bring_in(checkpoint)
    assert np.array_equal(file, written[1])
    assert not residence._granted() or residence._large_share(file) > 0.5


def _policies():
    return [line.split()[1] for line in Path("/proc/self/numa_maps").read_text().splitlines()]


@told_where
def test_a_file_is_read_onto_all_nodes_of_memory_and_only_it():
    seen = []

    class Watched:
        def __len__(self):
            return 10

        def madvise(self, *_):
            seen.extend(_policies())

    residence._populate(Watched())
    assert any(policy.startswith("interleave") for policy in seen)
    assert not any(policy.startswith("interleave") for policy in _policies())


@told_where
def test_a_policy_that_somebody_else_gave_stays():
    assert _native.spread_over_nodes(True)
    residence._populate(mmap.mmap(-1, 4096))
    assert not _native.spread_over_nodes(True)  # as it was
    assert _native.spread_over_nodes(False)
    assert not _native.spread_over_nodes(False)


def test_two_tensors_of_a_file_bring_it_in_once(written):
    checkpoint, file = checkpoint_of(written[0])
    (only,) = residence._files(checkpoint)
    assert only.ctypes.data == file.ctypes.data
    assert only.nbytes == file.nbytes


def test_tensors_of_integers_which_no_model_reads_are_passed_over(tmp_path):
    save_file({"ids": np.arange(4)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    bring_in(open_checkpoint(tmp_path))


def test_arrays_that_are_no_file_are_left_alone():
    bring_in(SimpleNamespace(tensors={"a": Tensor("a", F32, (2,), np.zeros(8, np.uint8))}))


def test_only_whole_large_pages_are_exchanged(written):
    _, file = checkpoint_of(written[0])
    begin = -file.ctypes.data % LARGE
    assert _native.large_pages(file) in (0, (file.nbytes - begin) // LARGE * LARGE)
    assert _native.large_pages(file[begin : begin + LARGE - 1]) == 0
    assert np.array_equal(file, written[1])


def test_without_large_pages_nothing_is_copied(written, monkeypatch):
    monkeypatch.setattr(residence, "_granted", lambda: False)
    monkeypatch.setattr(residence, "_exchange", lambda file: pytest.fail("copied"))
    bring_in(checkpoint_of(written[0])[0])


def test_without_room_nothing_is_copied(written, monkeypatch):
    monkeypatch.setattr(residence, "available_memory", lambda: 1 << 20)
    monkeypatch.setattr(residence, "_exchange", lambda file: pytest.fail("copied"))
    bring_in(checkpoint_of(written[0])[0])


def nibbles_and_floats(tmp_path, rows=4096):
    """A mapped file of a matrix in Q4_0 and a smaller one in float32."""
    made = {"a": random_tensor(Q4_0, rows, 2048), "b": random_tensor(F32, 64, 64)}
    (tmp_path / "weights").write_bytes(b"".join(tensor.data.tobytes() for tensor in made.values()))
    file = np.frombuffer(map_file(tmp_path / "weights"), np.uint8)
    ends = {"a": file[: made["a"].nbytes], "b": file[made["a"].nbytes :]}
    return SimpleNamespace(tensors={name: replace(tensor, data=ends[name]) for name, tensor in made.items()})


def resident(view):
    """Bytes in memory of the mapping that begins at `view`."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith(f"{view.ctypes.data:x}-"))
    return next(int(line.split()[1]) * 1024 for line in lines[head:] if line.startswith("Rss:"))


def test_what_is_multiplied_faster_in_another_order_is_copied_and_its_file_given_back(tmp_path, monkeypatch):
    monkeypatch.setattr(arrangement, "FASTER", IN_LANES)
    tensors = nibbles_and_floats(tmp_path).tensors
    stored, floats = tensors["a"], tensors["b"]
    expected, arranged = stored.f32(), bring_in(SimpleNamespace(tensors=tensors))
    moved = arranged(stored)
    assert moved.format is IN_LANES[Q4_0]
    assert not moved.data.any()
    assert stored.data.any()
    assert resident(stored.data) >= stored.nbytes
    arranged.settle()
    assert resident(stored.data) < stored.nbytes / 4
    np.testing.assert_array_equal(moved.f32(), expected)
    np.testing.assert_array_equal(stored.f32(), expected)
    assert arranged(floats) is floats


@pytest.mark.skipif(not arrangement.FASTER, reason="these kernels read the order of the file")
def test_what_was_read_once_is_given_back_before_it_is_copied(tmp_path):
    checkpoint = nibbles_and_floats(tmp_path)
    stored = checkpoint.tensors["a"]
    moved = bring_in(checkpoint)(stored)
    assert stored.data.any()
    assert resident(stored.data) >= stored.nbytes
    native.linears(np.ones((1, 2048), np.float32), [native.weight(moved)])
    assert not moved.data.any()
    assert resident(stored.data) < stored.nbytes / 4


@pytest.mark.parametrize(("wanted", "room"), [(False, 1 << 40), (True, 1 << 20)], ids=["other kernels", "no room"])
def test_otherwise_the_files_order_stays(tmp_path, monkeypatch, wanted, room):
    monkeypatch.setattr(arrangement, "FASTER", IN_LANES if wanted else {})
    monkeypatch.setattr(residence, "available_memory", lambda: room)
    assert bring_in(nibbles_and_floats(tmp_path)) is None


def test_memory_that_the_system_does_not_promise_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(arrangement, "FASTER", IN_LANES)
    checkpoint = nibbles_and_floats(tmp_path)
    monkeypatch.setattr(residence, "_faster_bytes", lambda _: 1 << 60)
    monkeypatch.setattr(residence, "available_memory", lambda: 1 << 62)
    assert bring_in(checkpoint) is None


def test_few_weights_of_such_a_format_are_no_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(arrangement, "FASTER", IN_LANES)
    assert bring_in(nibbles_and_floats(tmp_path, rows=4)) is None


def test_copies_lie_in_large_pages_where_the_system_grants_them(tmp_path, monkeypatch):
    monkeypatch.setattr(arrangement, "FASTER", IN_LANES)
    checkpoint = nibbles_and_floats(tmp_path)
    arranged = bring_in(checkpoint)
    moved = arranged(checkpoint.tensors["a"])
    arranged.settle()
    assert not residence._granted() or residence._large_share(residence._whole(moved.data)) > 0.3


@pytest.mark.parametrize(("text", "granted"), [("always [madvise] never", True), ("always madvise [never]", False)])
def test_the_setting_is_read(tmp_path, text, granted):
    (tmp_path / "enabled").write_text(text)
    assert residence._granted(tmp_path / "enabled") == granted
    assert not residence._granted(tmp_path / "missing")


def test_a_mapping_is_found_in_smaps(tmp_path):
    file = np.zeros(8, np.uint8)
    other, own = f"{1:x}-{2:x}", f"{file.ctypes.data:x}-{file.ctypes.data + 8:x}"
    (tmp_path / "smaps").write_text(
        f"{other} r--s 0 0:0 0 /a b\nFilePmdMapped: 8 kB\n{own} r--s 0 0:0 0 /a\nRss: 9 kB\nFilePmdMapped: 2 kB\n"
    )
    assert residence._large_share(file, tmp_path / "smaps") == 2048 / 8
    assert residence._large_share(file, tmp_path / "missing") == 1


def test_a_file_that_is_let_go_is_still_there(written):
    let_go(written[0])
    assert written[0].read_bytes() == written[1].tobytes()


@pytest.fixture
def placed(monkeypatch):
    """The matrices that are placed on a machine with two nodes of memory: where they begin, and their bytes."""
    seen = []
    monkeypatch.setattr(_native, "nodes", lambda: 2)
    monkeypatch.setattr(_native, "place_on_nodes", lambda data: seen.append((data.ctypes.data, data.nbytes)))
    return seen


@pytest.mark.parametrize("orders", [{}, IN_LANES], ids=["as stored", "in another order"])
def test_a_matrix_is_placed_on_its_nodes_where_it_will_be_read(orders, tmp_path, monkeypatch, placed):
    monkeypatch.setattr(arrangement, "FASTER", orders)
    checkpoint = nibbles_and_floats(tmp_path)
    moved = bring_in(checkpoint) or (lambda tensor: tensor)
    read = [moved(tensor) for tensor in checkpoint.tensors.values()]
    assert placed == [(tensor.data.ctypes.data, tensor.nbytes) for tensor in read]


def test_each_matrix_of_a_stack_is_placed_by_itself_and_a_vector_not(placed):
    stack = np.zeros(3 * 4 * 8 * 4, np.uint8)
    vector = Tensor("norm", F32, (2,), np.zeros(8, np.uint8))
    bring_in(SimpleNamespace(tensors={"experts": Tensor("experts", F32, (3, 4, 8), stack), "norm": vector}))
    assert placed == [(stack.ctypes.data + 128 * i, 128) for i in range(3)]

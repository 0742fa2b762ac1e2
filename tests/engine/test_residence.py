from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from divebell import _native
from divebell.engine import residence
from divebell.engine.residence import bring_in
from divebell.weights.checkpoint import open_checkpoint
from divebell.weights.mapped import let_go, map_file

LARGE = 2 << 20


@pytest.fixture
def written(tmp_path):
    """A file of 9 MB and a bit in the page cache's small pages, and its bytes."""
    content = np.random.default_rng(0).integers(0, 256, 9 * 1024 * 1024 + 77, np.uint8)
    (tmp_path / "weights").write_bytes(content)
    return tmp_path / "weights", content


def checkpoint_of(path):
    file = np.frombuffer(map_file(path), np.uint8)
    tensors = {name: SimpleNamespace(data=file[begin:][:100]) for name, begin in (("a", 0), ("b", 5000))}
    return SimpleNamespace(tensors=tensors), file


def test_a_file_is_the_same_afterwards_and_in_large_pages_where_the_system_grants_them(written):
    checkpoint, file = checkpoint_of(written[0])
    bring_in(checkpoint)
    assert np.array_equal(file, written[1])
    assert not residence._granted() or residence._large_share(file) > 0.5


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
    bring_in(SimpleNamespace(tensors={"a": SimpleNamespace(data=np.zeros(8, np.uint8))}))


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

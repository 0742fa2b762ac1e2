import os
import stat
import time

import pytest

from divebell.engine.page_folder import clear, default_folder, files, kept, prepare, trim, usual_limit, write
from divebell.errors import BadInput

OWNER = "0123456789abcdef" * 2


@pytest.fixture
def owner(tmp_path):
    folder = tmp_path / "kv" / OWNER
    prepare(folder, {"model": "m"})
    return folder


def page(owner, name: str, size: int, age: float = 0.0):
    path = owner / f"{name}.page"
    write(path, [b"x" * size])
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_nobody_else_can_read_what_is_written(owner):
    path = page(owner, "a", 10)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (owner, owner.parent)] == [0o700, 0o700]
    assert [file.path for file in files(owner.parent)] == [path]


def test_a_folder_that_others_may_write_to_is_refused(owner):
    owner.chmod(0o777)
    with pytest.raises(BadInput, match="may be written by others"):
        prepare(owner, {})


def test_a_folder_that_can_not_be_made_is_refused(tmp_path):
    (tmp_path / "kv").write_text("a file")
    with pytest.raises(BadInput, match="kv_dir"):
        prepare(tmp_path / "kv" / OWNER, {})


def test_what_could_not_be_written_leaves_nothing(owner, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space"):
        write(owner / "a.page", [b"x"])
    assert [path.name for path in owner.iterdir()] == ["about.json"]


def test_the_least_recently_used_go_when_there_are_too_many(owner):
    paths = [page(owner, str(n), 100, age=100 - n) for n in range(10)]
    trim(owner.parent, 1000)
    assert all(path.exists() for path in paths)
    trim(owner.parent, 500)
    assert [path.exists() for path in paths] == [False] * 6 + [True] * 4


def test_unfinished_files_go_when_they_are_old(owner):
    for name, age in (("new", 10), ("old", 7200)):
        path = owner / f".{name}.page.1.part"
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age,) * 2)
    trim(owner.parent, 1000)
    assert [path.name for path in owner.glob(".*")] == [".new.page.1.part"]


def test_what_is_kept_is_told_by_model(owner):
    page(owner, "a", 100, age=50)
    page(owner, "b", 10)
    (other := owner.parent / OWNER[::-1]).mkdir()
    (found, empty) = kept(owner.parent)
    assert (found.identity, found.pages, found.bytes) == ({"model": "m"}, 2, 110)
    assert (empty.identity, empty.pages) == ({}, 0)
    assert kept(other / "nothing") == []


def test_clearing_deletes_pages_and_nothing_else(owner):
    page(owner, "a", 100)
    (owner.parent / "letter.txt").write_text("dear")
    (mixed := owner.parent / OWNER[::-1]).mkdir()
    (mixed / "photo.jpg").write_bytes(b"1")
    assert clear(owner.parent) == 100
    assert sorted(path.name for path in owner.parent.iterdir()) == sorted([mixed.name, "letter.txt"])
    assert (mixed / "photo.jpg").exists()


def test_the_limit_is_a_share_of_the_disk(owner, monkeypatch):
    page(owner, "a", 1000)
    assert 0 < usual_limit(owner.parent) <= 16 << 30


def test_the_default_folder_is_in_divebells_own(monkeypatch, tmp_path):
    monkeypatch.setenv("DIVEBELL_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "kv"

import json

import pytest

from divebell.cli import main
from divebell.engine.page_folder import prepare, write


@pytest.fixture
def folder(tmp_path):
    owner = tmp_path / "kv" / ("ab" * 16)
    prepare(owner, {"model": "tiny.gguf", "weights": "stored"})
    write(owner / "a.page", [b"x" * 3000])
    return tmp_path / "kv"


def test_what_is_kept_is_listed(folder, capsys):
    assert main(["cache", "list", "--kv-dir", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "tiny.gguf" in out
    assert "2.9 KiB" in out


def test_the_list_as_json(folder, capsys):
    assert main(["cache", "list", "--kv-dir", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["folder"], found["bytes"]) == (str(folder), 3000)
    assert found["limit"] > 0
    (model,) = found["models"]
    assert (model["model"], model["weights"], model["pages"], model["bytes"]) == ("tiny.gguf", "stored", 1, 3000)


def test_clearing_tells_what_it_freed(folder, capsys):
    assert main(["cache", "clear", "--kv-dir", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["freed"] == 3000
    assert main(["cache", "list", "--kv-dir", str(folder)]) == 0
    assert "nothing is kept" in capsys.readouterr().out


def test_without_a_folder_there_is_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DIVEBELL_HOME", str(tmp_path))
    assert main(["cache", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "folder": str(tmp_path / "kv"),
        "bytes": 0,
        "limit": None,
        "models": [],
    }


def test_another_action_is_refused(capsys):
    assert main(["cache", "burn"]) == 2
    assert "burn" in capsys.readouterr().err

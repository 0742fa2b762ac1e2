"""`divebell tune new` from the command line; what the methods make of their rows is held in tests/tune."""

import json

import pytest
from checkpoints import CONFIG_OF_LLAMA

from divebell.cli import main

SHORT = ("--steps", 2, "--batch", 2, "--context", 32)


@pytest.fixture
def given(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG_OF_LLAMA))
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(f"{name} after the other. " * 60)
    return [tmp_path / name for name in ("config.json", "one.txt", "two.txt")]


def run(*arguments: object) -> int:
    return main(["tune", *map(str, arguments)])


def test_a_new_model_is_planned_without_writing(given, tmp_path, capsys):
    assert run("new", *given, "--out", tmp_path / "out", *SHORT, "--dry-run", "--json") == 0
    planned = json.loads(capsys.readouterr().out)
    assert run("new", *given[:2], "--out", tmp_path / "out", *SHORT, "--dry-run", "--json") == 0
    assert planned["tokens"] > json.loads(capsys.readouterr().out)["tokens"]
    assert not (tmp_path / "out").exists()


def test_a_new_model_speaks(given, tmp_path, capsys):
    assert run("new", *given, "--out", tmp_path / "out", *SHORT, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert main(["run", told["result"], "one", "--max-tokens", "2"]) == 0


def test_what_is_no_config_is_refused(given, tmp_path, capsys):
    assert run("new", tmp_path / "none.json", given[1], "--out", tmp_path / "out") == 1
    assert "none.json" in capsys.readouterr().err
    assert run("new", tmp_path, given[1], "--out", tmp_path / "out") == 1
    assert str(tmp_path) in capsys.readouterr().err

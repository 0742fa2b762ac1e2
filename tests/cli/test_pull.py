import json
from pathlib import Path

import pytest

from divebell.cli import main
from divebell.errors import PullError


@pytest.fixture(autouse=True)
def _own_home(monkeypatch, tmp_path):
    monkeypatch.setenv("DIVEBELL_HOME", str(tmp_path))


def test_the_path_alone_is_on_stdout(monkeypatch, capsys):
    monkeypatch.setattr("divebell.weights.pull.pull", lambda name: Path(f"/models/{name}.gguf"))
    assert main(["pull", "tiny"]) == 0
    assert capsys.readouterr().out == "/models/tiny.gguf\n"
    assert main(["pull", "tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": "/models/tiny.gguf", "sha256": None, "source": None}


def test_a_failed_pull_is_exit_code_1(monkeypatch, capsys):
    def fail(name):
        raise PullError(f"{name} could not be fetched")

    monkeypatch.setattr("divebell.weights.pull.pull", fail)
    assert main(["pull", "tiny"]) == 1
    assert capsys.readouterr().err == "divebell: tiny could not be fetched\n"


def test_without_a_name_the_catalogue_is_shown(capsys, tmp_path):
    assert main(["pull", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["home"] == str(tmp_path)
    assert [model["name"] for model in figures["models"]] == ["smollm2-135m", "qwen2.5-coder-1.5b"]
    assert all(model["path"] is None and model["bytes"] > 90e6 for model in figures["models"])
    assert main(["pull"]) == 0
    assert "smollm2-135m" in capsys.readouterr().out

"""The folder of a run: what it is taken for, and what is in it."""

import json

import pytest

from divebell.errors import BadInput
from divebell.tune.record import Record

SETTINGS = {"method": "lora", "seed": 0}


def test_settings_that_nothing_came_of_are_replaced(tmp_path):
    Record(tmp_path / "out", SETTINGS).begin(0)
    Record(tmp_path / "out", SETTINGS | {"seed": 1})
    assert json.loads((tmp_path / "out" / "config.json").read_text())["seed"] == 1


def test_those_of_a_run_that_has_worked_are_kept(tmp_path):
    Record(tmp_path / "out", SETTINGS).add({"step": 0})
    with pytest.raises(BadInput, match="seed was 0 and is 1"):
        Record(tmp_path / "out", SETTINGS | {"seed": 1})


@pytest.mark.parametrize("text", ["[]", "no json", '{"hidden_size": 64}'])
def test_what_is_no_run_is_left_alone(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(BadInput, match="is there and holds no run; give another --out"):
        Record(tmp_path, SETTINGS)
    assert (tmp_path / "config.json").read_text() == text


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match="holds no run"):
        Record(tmp_path, SETTINGS)

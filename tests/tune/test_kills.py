"""Processes that are killed from outside, whenever; benchmarks/bench_kills.py does it 20 times."""

import pytest

from bench_kills import compared
from divebell.errors import BadInput
from divebell.tune.record import Record, recorded


@pytest.mark.slow
def test_a_run_that_is_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    found = compared(tmp_path, "lora", kills=2, steps=40)
    assert found["kills"] > 0
    assert (found["steps"], found["same_figures"], found["same_result"]) == (40, True, True)


def test_a_run_that_was_killed_before_its_first_file_was_whole_can_begin(tmp_path):
    (tmp_path / "config.json.part").write_text("{")
    record = Record(tmp_path, {"seed": 0})
    assert recorded(tmp_path) == []
    record.add({"step": 0})
    with pytest.raises(BadInput, match="seed was 0 and is 1"):
        Record(tmp_path, {"seed": 1})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.part").write_text("mine")
    with pytest.raises(BadInput, match="holds no run"):
        Record(tmp_path / "other", {"seed": 0})

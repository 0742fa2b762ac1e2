"""Answers on disk: none is lost, whatever ends the process."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divebell.errors import BadFile
from divebell.evaluate.cost import COUNTED
from divebell.evaluate.journal import Journal

SETTINGS = {"model": {"files": {"a.gguf": "0" * 64}}, "chat": False}


def row(id: int) -> dict:
    return {"task": "t", "id": id, "sample": 0, "digest": "d", "scores": {"acc": 1.0}} | dict.fromkeys(COUNTED, 0)


def filled(folder, count: int = 3) -> Journal:
    journal = Journal(folder, "a/model", SETTINGS)
    for id in range(count):
        journal.add(row(id))
    journal.close()
    return journal


@given(st.integers(0, 2000))
def test_a_journal_cut_anywhere_keeps_its_whole_rows_and_goes_on(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("cut")
    path = filled(folder).path
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    kept = max(whole[:cut].count(b"\n") - 1, 0)
    again = filled(folder, 0)
    assert len(again.rows) == kept
    again = Journal(folder, "a/model", SETTINGS)
    again.add(row(7))
    again.close()
    assert len(Journal(folder, "a/model", SETTINGS).rows) == kept + 1
    assert [json.loads(line) for line in path.read_text().splitlines()]


def test_other_settings_have_another_journal(tmp_path):
    first = filled(tmp_path)
    other = Journal(tmp_path, "a/model", SETTINGS | {"chat": True})
    assert other.path != first.path
    assert not other.rows


def test_an_answer_to_another_question_does_not_count(tmp_path):
    filled(tmp_path)
    journal = Journal(tmp_path, "a/model", SETTINGS)
    assert journal.find(("t", 1, 0), "d")
    assert journal.find(("t", 1, 0), "other") is None
    assert journal.find(("t", 9, 0), "d") is None


@pytest.mark.parametrize("line", ["{", "[]", "7", '{"task": "t"}', "\xff"])
def test_a_damaged_line_is_named(tmp_path, line):
    path = filled(tmp_path).path
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[2:]]) + "\n")
    with pytest.raises(BadFile, match="line 3: is damaged"):
        Journal(tmp_path, "a/model", SETTINGS)

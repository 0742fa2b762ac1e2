"""divebell receipts."""

import csv
import io
import json
import sqlite3

import pytest

from divebell.cli import main
from divebell.costs import ledger
from divebell.costs.prices import price

ROW = {
    "kind": "answer",
    "time": 1.7e9,
    "model": "m.gguf",
    "files": {"m.gguf": "ab"},
    "method": "a meter",
    "uncertainty": 0.1,
    "grid": "World, 2023",
    **dict.fromkeys(("prompt_tokens", "cached_tokens", "completion_tokens"), 3),
    **dict.fromkeys(("shared_seconds", "seconds", "joules", "grams_co2", "marginal_dollars", "all_in_dollars"), 0.5),
    "api_dollars": {"gpt-4": 0.25},
    "api_lists": {"gpt-4": "models.dev, 2026-07-02"},
}


@pytest.fixture(autouse=True)
def _ledger(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    ledger.append(ledger.place(), [ROW, ROW, {"kind": "idle", "time": 1.7e9, "joules": 4.0}])


def test_list_and_sums(capsys):
    assert main(["receipts"]) == 0
    out = capsys.readouterr().out
    assert "m.gguf" in out
    assert "idle_joules" in out
    assert f"dollars at gpt-4 ({price('gpt-4').date})" in out
    assert main(["receipts", "--json", "--last", "1"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["rows"], len(figures["receipts"]), figures["damage"]) == (3, 1, [])
    assert figures["total"]["dollars at gpt-4"] == 0.5
    assert figures["total"]["idle_joules"] == 4.0


def test_export_is_csv_with_a_column_for_each_figure(capsys):
    assert main(["receipts", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 3
    assert (rows[0]["api_dollars.gpt-4"], rows[0]["api_lists.gpt-4"]) == ("0.25", "models.dev, 2026-07-02")
    assert [row["hash"] for row in rows] == [hash for _, _, hash in ledger.read(ledger.place())]


def test_a_damaged_chain_is_a_failure_that_names_the_row(capsys):
    assert main(["receipts", "--verify"]) == 0
    with sqlite3.connect(ledger.place()) as base:
        base.execute("UPDATE receipts SET body = '{}' WHERE id = 2")
    assert main(["receipts", "--verify"]) == 1
    assert "row 2 was changed" in capsys.readouterr().err
    assert main(["receipts"]) == 1
    capsys.readouterr()
    assert main(["receipts", "--csv"]) == 1
    out, err = capsys.readouterr()
    assert [row["id"] for row in csv.DictReader(io.StringIO(out))] == ["1", "3"]
    assert "row 2 was changed" in err


def test_without_a_ledger_there_is_nothing(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    assert main(["receipts", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 0

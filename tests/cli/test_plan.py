"""divebell plan."""

import json
from pathlib import Path

import pytest

from divebell.cli import main
from divebell.costs.plan import keep_bench

V2_LITE = str(Path(__file__).parents[2] / "benchmarks" / "configs" / "deepseek-v2-lite.json")


@pytest.fixture(autouse=True)
def _own_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("DIVEBELL_COSTS", str(tmp_path / "costs.toml"))


def _planned(capsys, *arguments):
    assert main(["plan", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_plan_on_paper(capsys):
    figures = _planned(capsys, V2_LITE, "--hardware", "8x-h20", "--batch", "1,8")
    assert figures["format"] == "as released"
    assert figures["hardware"]["export_date"]
    assert [speed["batch"] for speed in figures["speeds"] if speed["kind"] == "decode"] == [1, 8, 1, 8]
    assert all(speed["seconds"] >= speed["least"] for speed in figures["speeds"])


def test_plan_for_people(capsys):
    assert main(["plan", V2_LITE, "--hardware", "epyc-9654", "--format", "q4_0"]) == 0
    out = capsys.readouterr().out
    assert "reading memory" in out
    assert "assumed for a kWh" in out


def test_catalogue_has_a_source_and_a_date_in_every_row(capsys):
    rows = _listed(capsys)
    assert len(rows) >= 12
    assert all(row["source"] and row["date"] for row in rows)
    assert all(row["export_date"] and row["export_source"] for row in rows if row["export"] != "none stated")


def _listed(capsys):
    return _planned(capsys, "--hardware", "list")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--hardware", "8x-h20"), "MODEL is missing"),
        ((V2_LITE, "--hardware", "abacus"), "abacus.*epyc-9654"),
        ((V2_LITE, "--hardware", "8x-h20", "--batch", "0"), "--batch"),
        ((V2_LITE, "--hardware", "8x-h20", "--context", "-1"), "--context"),
        ((V2_LITE, "--hardware", "8x-h20", "--format", "q3"), "q3.*q4_k"),
    ],
)
def test_what_is_wrong_is_named(capsys, arguments, named):
    import re

    assert main(["plan", *arguments]) == 1
    assert re.search(named, capsys.readouterr().err)


def test_a_benchmark_is_remembered_beside_earlier_ones(tmp_path):
    from divebell.costs.plan import measured_speeds
    from divebell.costs.this_machine import read, speeds_place

    row = {"kind": "decode", "tokens": 16, "depth": 0, "batch": 2, "tokens_per_s": 4.0}
    keep_bench(tmp_path / "m.gguf", [row])
    keep_bench(tmp_path / "m.gguf", [{**row, "depth": 64}, {**row, "tokens_per_s": 8.0}])
    kept = measured_speeds(read(speeds_place()), tmp_path / "m.gguf")
    assert kept == {("decode", 1, 0, 2): 0.25, ("decode", 1, 64, 2): 0.5}

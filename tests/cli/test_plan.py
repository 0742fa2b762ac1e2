"""divebell plan."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from divebell.cli import main
from divebell.costs.hardware import hardware
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
    assert "left out: dollars_per_kwh (0.2) (see " in out
    assert "360 W" in out
    assert "assumed: " not in out


def test_what_is_assumed_of_this_machine_is_said(capsys, monkeypatch):
    figures = {"processor": "P", "threads": 2, "isa": "avx2", "read_gb_per_s": 20.0, "int8_gmac_per_s": 200.0}
    figures |= {"bf16_gmac_per_s": 100.0, "f32_gmac_per_s": 50.0}
    figures |= {"nodes": {"node0": 28.316}, "disk_gb_per_s": None, "date": "2026-11-28"}
    monkeypatch.setattr("divebell.costs.this_machine.this_machine", lambda: figures)
    monkeypatch.setattr("divebell.costs.rehearsed.rehearse", lambda *args: [1.0] * len(args[-1]))
    assert main(["plan", V2_LITE, "--format", "q4_0"]) == 0
    out = capsys.readouterr().out
    assert "W, assumed: 3.75 W a core" in out
    assert "(measured here: node0 28.3 GB/s, 2026-11-28)" in out
    assert "left out: dollars_per_kwh (0.2), dollars, watts (see " in out


def test_what_can_not_be_held_is_not_rehearsed(capsys, monkeypatch):
    monkeypatch.setattr("divebell.cli.plan._machine", lambda name, own: replace(hardware("epyc-9654"), name="this"))
    monkeypatch.setattr("divebell.costs.rehearsed.rehearse", lambda *args: [1.0] * len(args[-1]))
    assert main(["plan", V2_LITE, "--format", "q4_0", "--context", "4096", "--batch", "1,1000000"]) == 0
    out = capsys.readouterr().out
    assert "1 of 3 speeds are left out: weights and cache would not fit the memory" in out
    assert out.count("decode") == 1


def test_contexts_that_the_model_can_not_read_are_told_and_count_for_no_memory(capsys):
    paper = (V2_LITE, "--hardware", "8x-h20", "--format", "q8")
    short, long = (_planned(capsys, *paper, "--context", c) for c in ("0,4096", "0,4096,200000"))
    assert long["left_out"]["too_long"] == [200_000]
    assert (long["formats"], long["speeds"]) == (short["formats"], short["speeds"])
    assert main(["plan", *paper, "--context", "0,200000"]) == 0
    assert "left out: context 200,000; the model can read 163,840 tokens, 512 of them new" in capsys.readouterr().out


def test_what_does_not_fit_has_no_speed_and_no_price(capsys):
    some = _planned(capsys, V2_LITE, "--hardware", "8x-h20", "--context", "4096", "--batch", "1,100000")
    assert [(s["kind"], s["batch"]) for s in some["speeds"]] == [("prompt", 8), ("decode", 1)]
    assert [(s["kind"], s["batch"]) for s in some["left_out"]["too_large"]] == [("decode", 100_000)]
    none = _planned(capsys, V2_LITE, "--hardware", "8x-h20", "--context", "4096", "--batch", "100000")
    assert none["speeds"] == []
    assert not any(row["fits"] for row in none["formats"])


def test_prompts_share_a_step_on_gpus_alone(capsys):
    def prompt(hardware):
        figures = _planned(capsys, V2_LITE, "--hardware", hardware, "--context", "0", "--batch", "2")
        return next(speed["batch"] for speed in figures["speeds"] if speed["kind"] == "prompt")

    assert (prompt("8x-h800"), prompt("epyc-9654")) == (8, 1)


@pytest.mark.parametrize(("hardware", "reading", "arithmetic"), [("8x-h800", 0.9, 0.59), ("epyc-9654", 0.8, 0.5)])
def test_formulas_give_what_is_shown(capsys, hardware, reading, arithmetic):
    figures = _planned(capsys, V2_LITE, "--hardware", hardware)
    machine, told = figures["hardware"], "\n".join(figures["formulas"])
    assert f"{reading:.0%} of the bandwidth and {arithmetic:.0%} of the rates" in told
    rates = {"int8": machine["int8"], "bf16": machine["bf16"], "f32": machine["bf16"] / 2}
    for speed in figures["speeds"]:
        multiplied = sum(count / rates[kind] for kind, count in speed["multiply_adds"].items())
        assert max(speed["bytes"] / machine["read"], multiplied) == pytest.approx(speed["least"])
        seconds = max(speed["bytes"] / machine["read"] / reading, multiplied / arithmetic)
        assert seconds == pytest.approx(speed["seconds"], rel=0.01)
    assert main(["plan", V2_LITE, "--hardware", hardware]) == 0
    assert told in capsys.readouterr().out


def test_a_folder_with_a_config_alone_is_enough(capsys, tmp_path):
    (tmp_path / "config.json").write_bytes(b"\xef\xbb\xbf" + Path(V2_LITE).read_bytes())
    figures = _planned(capsys, str(tmp_path), "--hardware", "8x-h20")
    assert [row["format"] for row in figures["formats"]] == ["as released", "q8", "q4"]


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
        ((V2_LITE, "--hardware", "8x-h20", "--context", "163840"), "--context is '163840', but .* 163,840 tokens, 512"),
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


def test_a_config_without_an_architecture_is_told(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"hidden_size": 64}')
    assert main(["plan", str(tmp_path / "config.json"), "--hardware", "8x-h20"]) == 1
    assert "model_type is missing" in capsys.readouterr().err

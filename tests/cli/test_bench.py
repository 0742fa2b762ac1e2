import json

import pytest

from divebell.cli import main
from divebell.models.synth import plan, synth
from divebell.ops import native

CONFIG = {
    "model_type": "qwen2",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 300,
    "max_position_embeddings": 512,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "tiny.gguf"
    synth(plan(CONFIG, "q4_0", folder=False), path)
    return path


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """The floor is measured in tests of its own."""
    monkeypatch.setattr("divebell.engine.machine.read_gb_per_s", lambda: 10.0)
    monkeypatch.setattr(
        "divebell.engine.machine.gmac_per_s", lambda kind: {"int8": 100.0, "bf16": 50.0, "f32": 25.0}[kind]
    )


def run(model, *arguments: object) -> int:
    return main(["bench", str(model), *map(str, arguments)])


def test_rows_floor_and_memory(model, capsys):
    assert run(model, "--prompt", "20,40", "--decode", 3, "--depth", "0,70", "--batch", "1,2", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    found = [(row["kind"], row["tokens"], row["depth"], row["batch"]) for row in figures["rows"]]
    prompts = [("prompt", tokens, depth, 1) for tokens in (20, 40) for depth in (0, 70)]
    assert found == prompts + [("decode", 3, depth, batch) for depth in (0, 70) for batch in (1, 2)]
    assert figures["floor"] == {
        "read_gb_per_s": 10,
        "int8_gmac_per_s": 100,
        "bf16_gmac_per_s": 50,
        "f32_gmac_per_s": 25,
    }
    assert figures["memory"]["file"] == model.stat().st_size
    assert figures["memory"]["peak"] >= figures["memory"]["anonymous"]


def test_a_rows_figures_agree_with_one_another(model, capsys):
    assert run(model, "--prompt", 0, "--decode", 4, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["gb_per_s"] == pytest.approx(row["bytes_per_token"] * row["tokens_per_s"] / 1e9)
    assert row["share_of_floor"] == pytest.approx(row["gb_per_s"] / 10)
    assert sum(op["share"] for op in row["ops"].values()) == pytest.approx(1)


def test_people_get_a_table(model, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert run(model, "--prompt", 16, "--decode", 2) == 0
    out = capsys.readouterr().out
    assert "of floor" in out
    assert "10.0 GB/s" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompt", "1,x"], "--prompt is '1,x'"),
        (["--depth", "-1"], "--depth is '-1'"),
        (["--batch", "0"], "--batch has 0"),
        (["--threads", "0"], "--threads is 0"),
        (["--prompt", "0", "--decode", "0"], "nothing to time"),
        (["--depth", "1000"], "this model takes 512 at most"),
    ],
)
def test_mistakes_are_told(model, capsys, arguments, message):
    assert run(model, *arguments) == 1
    assert message in capsys.readouterr().err


def test_only_what_a_plan_is_made_for_is_kept_beside_it(model, monkeypatch):
    kept = []
    monkeypatch.setattr("divebell.costs.plan.keep_bench", lambda path, rows: kept.append(path))
    usual = native.threads()
    try:
        for options in ((), ("--threads", usual), ("--cache", "f32"), ("--threads", usual + 1)):
            assert run(model, "--prompt", 0, "--decode", 1, *options) == 0
    finally:
        native.set_threads(usual)
    assert len(kept) == 2

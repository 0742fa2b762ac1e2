import json
from pathlib import Path

import numpy as np
import pytest
from talkers import talker

import divebell
from divebell.cli import main
from divebell.weights.checkpoint import open_checkpoint


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Models that can talk, and a text."""
    root = tmp_path_factory.mktemp("models")
    for name in ("llama", "qwen2", "mistral-window", "deepseek_v3"):
        talker(root / name, name)
    talker(root / "wide", "llama", intermediate_size=128)
    (root / "text.txt").write_text("two and two are four; four and four are eight. " * 30)
    (root / "long.txt").write_text("".join(f"after {i} comes {i + 1}. " for i in range(220)))
    return root


def run(*arguments: object) -> int:
    return main(["convert", *map(str, arguments), "--tokens", "256"])


def test_an_exact_model_and_what_it_is(root, tmp_path, capsys):
    assert run(root / "qwen2", "--out", tmp_path / "mla", "--text", root / "text.txt", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    # Caches are rounded to bfloat16, and with some instruction sets so is what is multiplied with them.
    assert shown["perplexity"] == pytest.approx(shown["perplexity_before"], rel=4e-3)
    assert shown["cache_bytes_per_token_before"] == 3 * 64 * 2
    assert shown["cache_bytes_per_token"] == 3 * (shown["rank"] + shown["rope"]) * 2
    assert open_checkpoint(tmp_path / "mla").architecture == "deepseek_v3"
    texts = []
    for path in (root / "qwen2", tmp_path / "mla"):
        with divebell.load(path, weights="f32") as llm:
            texts.append(llm.chat([{"role": "user", "content": "four?"}], temperature=0, max_tokens=12).text)
    assert texts[0] == texts[1]


def test_half_a_cache(root, tmp_path, capsys):
    assert run(root / "llama", "--cache", 0.5, "--out", tmp_path / "mla") == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert shown["cache_bytes_per_token"] == "192"
    assert float(shown["predicted_loss"]) > 0


def away(original: Path, model: Path) -> float:
    """The divergence of what a model finds likely from what the original does."""
    found = []
    for folder in (original, model):
        with divebell.load(folder, weights="f32", ram="1GiB") as llm:
            ids = llm.tokenizer.encode("after 301 comes 302. after 302 comes 303.")
            found.append(llm.logits(ids).astype(np.float64))
    right, own = (each - np.log(np.exp(each).sum(axis=1, keepdims=True)) for each in found)
    return float((np.exp(right) * (right - own)).sum(axis=1).mean())


@pytest.mark.slow
def test_half_a_cache_and_half_the_neurons_are_healed(root, tmp_path, capsys):
    """And a kill between the conversion and the result costs nothing."""
    out, text, first = tmp_path / "mla", root / "text.txt", tmp_path / "mla.healing" / "converted"
    given = ["--cache", 0.5, "--experts", 4, "--text", text, "--calibration", text, "--heal", root / "long.txt"]
    assert run(root / "wide", "--out", out, *given, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    told = {"perplexity_before", "perplexity_converted", "perplexity_layer_by_layer", "perplexity"}
    assert told <= shown.keys()
    assert len((tmp_path / "mla.healing" / "layerwise" / "metrics.jsonl").read_text().splitlines()) == 3
    assert away(root / "wide", out) < 0.9 * away(root / "wide", first)
    assert shown["active_mlp_share"] == 0.5
    assert (shown["shared_experts"], shown["routed_experts"], shown["chosen_experts"]) == (1, 3, 1)
    assert (tmp_path / "mla.healing" / "run" / "kl.png").exists()
    with divebell.load(out, weights="f32", ram="1GiB") as llm:
        assert llm.info.description.active_experts == 1
    routers = [open_checkpoint(each).tensors["model.layers.1.mlp.gate.weight"].f32() for each in (out, first)]
    assert (routers[0] == routers[1]).all()
    converted = (first / "config.json").stat().st_mtime_ns
    assert shown["taken"] == "run"
    out.rename(tmp_path / "mla.healing" / "run" / "model")
    assert run(root / "wide", "--out", out, *given, "--json") == 0
    assert json.loads(capsys.readouterr().out)["perplexity"] == shown["perplexity"]
    assert (first / "config.json").stat().st_mtime_ns == converted
    out.rename(tmp_path / "mla.healing" / "run" / "model")
    (tmp_path / "mla.healing" / "run" / "metrics.jsonl").write_text('{"held_out": 1.0}\n{"held_out": 1.1}\n')
    assert run(root / "wide", "--out", out, *given, "--json") == 0
    assert json.loads(capsys.readouterr().out)["taken"] == "layerwise"
    out.rename(tmp_path / "elsewhere")
    assert run(root / "wide", "--out", out, *given, "--seed", 1) == 1
    assert "seed was 0 and is 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "arguments", "says"),
    [
        ("llama", ["--attention", "linear"], "attention 'linear' is not supported; known: mla"),
        ("llama", ["--cache", "1.5"], "cache is 1.5"),
        ("llama", ["--cache", "0.1"], "must leave at least 32"),
        ("mistral-window", [], "sliding window of 48 is not supported"),
        ("deepseek_v3", [], "conversion of architecture 'deepseek_v3' is not supported; known: llama, mistral, qwen2"),
        ("llama", ["--cache", "nan"], "cache is nan"),
        ("llama", ["--seed", "-1"], "seed is -1; it must be at least 0"),
        ("llama", ["--text", "none.txt"], "none.txt"),
        ("llama", ["--calibration", "none.txt"], "none.txt"),
        ("llama", ["--experts", "5"], "experts is 5; it must divide the 112 neurons"),
        ("llama", ["--heal", "text.txt"], "at least 2,048 are needed"),
        ("llama", ["--heal", "none.txt"], "none.txt"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(root, tmp_path, capsys, model, arguments, says):
    files = [root / each if each == "text.txt" else each for each in arguments]
    assert run(root / model, "--out", tmp_path / "mla", *files) == 1
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_source_is_never_written_over(root, capsys):
    assert run(root / "llama", "--out", root / "llama") == 1
    assert "give the name of a new folder" in capsys.readouterr().err

import json

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
    (root / "text.txt").write_text("two and two are four; four and four are eight. " * 30)
    return root


def run(*arguments: object) -> int:
    return main(["convert", *map(str, arguments), "--tokens", "256"])


def test_an_exact_model_and_what_it_is(root, tmp_path, capsys):
    assert run(root / "qwen2", "--out", tmp_path / "mla", "--text", root / "text.txt", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["perplexity"] == pytest.approx(shown["perplexity_before"], rel=1e-3)
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


@pytest.mark.parametrize(
    ("model", "arguments", "says"),
    [
        ("llama", ["--attention", "linear"], "attention 'linear' is not supported; known: mla"),
        ("llama", ["--cache", "1.5"], "cache is 1.5"),
        ("llama", ["--cache", "0.1"], "must leave at least 32"),
        ("mistral-window", [], "sliding window of 48 is not supported"),
        ("deepseek_v3", [], "conversion of architecture 'deepseek_v3' is not supported; known: llama, mistral, qwen2"),
        ("llama", ["--text", "none.txt"], "none.txt"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(root, tmp_path, capsys, model, arguments, says):
    assert run(root / model, "--out", tmp_path / "mla", *arguments) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "mla").exists()


def test_the_source_is_never_written_over(root, capsys):
    assert run(root / "llama", "--out", root / "llama") == 1
    assert "give the name of a new folder" in capsys.readouterr().err

import json
from hashlib import sha256

import pytest
import talkers

from divebell.cli import main
from divebell.evaluate.verify_card import digest
from divebell.models.synth import plan, synth

CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 1024,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two models of one shape, and a text."""
    root = tmp_path_factory.mktemp("models")
    synth(plan(CONFIG, "f16", folder=False), root / "a.gguf")
    synth(plan(CONFIG, "bf16", folder=True), root / "b")
    (root / "text").write_text("the quick brown fox " * 100)
    return root


def run(*arguments: object) -> int:
    return main(["verify", *map(str, arguments)])


def test_a_model_is_the_same_as_itself(root, tmp_path, capsys):
    model = root / "a.gguf"
    assert run(model, "--against", model, "--tokens", 600, "--json", "--out", tmp_path, "--within", 0.01) == 0
    card = json.loads(capsys.readouterr().out)
    assert (card["same"], card["reasons"], card["text"]["tokens"]) == (True, [], 600)
    assert 0 <= card["divergence"][0]["mean"] < 0.01
    assert card["divergence"][0]["tokens"] == 256
    file = {"name": "a.gguf", "bytes": model.stat().st_size, "sha256": sha256(model.read_bytes()).hexdigest()}
    assert card["model"]["files"] == card["reference"]["files"] == [file]
    assert json.loads((tmp_path / "verify.json").read_text()) == card
    text = (tmp_path / "verify.md").read_text()
    assert "**the same within 0.01 nats**" in text
    assert file["sha256"] in text
    assert card["sha256"] in text


def test_a_changed_card_shows(root, tmp_path):
    model = root / "a.gguf"
    assert run(model, "--against", model, "--tokens", 300, "--text", root / "text", "--out", tmp_path) == 0
    card = json.loads((tmp_path / "verify.json").read_text())
    assert digest(card) == card["sha256"]
    card["divergence"][0]["mean"] /= 2
    assert digest(card) != card["sha256"]


def test_another_model_is_not_the_same_and_its_card_is_written(root, tmp_path, capsys):
    arguments = ["--tokens", 300, "--within", 1e-9, "--out", tmp_path, "--weights", "q4"]
    assert run(root / "b", "--against", root / "b", *arguments) == 1
    shown = capsys.readouterr()
    assert "not the same" in shown.out
    assert "above 1e-09" in shown.err
    card = json.loads((tmp_path / "verify.json").read_text())
    assert not card["same"]
    assert {file["name"] for file in card["model"]["files"]} == {one.name for one in (root / "b").iterdir()}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--within", "-1"], "within is -1.0; it must be 0 or more"),
        (["--within", "nan"], "within is nan"),
        (["--tokens", "9"], "tokens is 9; it must be 256 or more"),
        (["--text", "none"], "none: No such file"),
    ],
)
def test_what_can_not_be_compared_is_refused(root, capsys, arguments, says):
    assert run(root / "a.gguf", "--against", root / "a.gguf", *arguments) == 1
    assert says in capsys.readouterr().err


def test_other_tokenizers_are_refused_before_a_model_is_loaded(root, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("divebell.load", lambda *_, **__: pytest.fail("a model was loaded"))
    assert run(root / "a.gguf", "--against", talkers.talker(tmp_path / "other")) == 1
    assert "the tokenizers of model and reference differ" in capsys.readouterr().err


def test_an_empty_text_is_refused(root, tmp_path, capsys):
    (tmp_path / "text").write_text("")
    assert run(root / "a.gguf", "--against", root / "a.gguf", "--text", tmp_path / "text") == 1
    assert "the text is too short" in capsys.readouterr().err

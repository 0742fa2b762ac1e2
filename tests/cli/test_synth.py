import json

import pytest

from divebell.cli import main
from divebell.weights.checkpoint import open_checkpoint

CONFIG = {
    "_source": "a comment",
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 128,
}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    return path


def run(*arguments: object) -> int:
    return main(["synth", *map(str, arguments)])


def test_it_writes_a_gguf_and_tells_what(config, tmp_path, capsys):
    out = tmp_path / "m.gguf"
    assert run(config, "--out", out, "--format", "q8_0", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["path"] == str(out)
    assert figures["bytes"] < out.stat().st_size < figures["bytes"] + 20_000
    assert figures["parameters"] == 2 * 300 * 64 + 64 + 4 * (4 * 64 * 64 + 3 * 64 * 96 + 2 * 64)


def test_any_other_name_is_a_folder(config, tmp_path, capsys):
    assert run(config, "--out", tmp_path / "m", "--format", "bf16") == 0
    names = {path.name for path in (tmp_path / "m").iterdir()}
    assert names == {"config.json", "tokenizer.json", "model.safetensors"}
    assert "bf16" in capsys.readouterr().out


def test_layers_and_fields_can_be_changed(config, tmp_path):
    assert run(config, "--out", tmp_path / "m", "--format", "f32", "--layers", 2, "--set", "vocab_size=50") == 0
    tensors = open_checkpoint(tmp_path / "m").tensors
    assert tensors["lm_head.weight"].shape == (50, 64)
    assert "model.layers.1.mlp.up_proj.weight" in tensors
    assert "model.layers.2.mlp.up_proj.weight" not in tensors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "q9"], "format of a .gguf 'q9' is not supported; known: bf16"),
        (["--set", "vocab_size"], "--set is 'vocab_size'; give KEY=VALUE"),
        (["--set", "hidden_size=none"], "hidden_size"),
        (["--set", "model_type=mamba"], "'mamba'"),
    ],
)
def test_mistakes_are_told(config, tmp_path, capsys, arguments, message):
    assert run(config, "--out", tmp_path / "m.gguf", *arguments) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "m.gguf").exists()


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000])
def test_a_config_that_is_no_object_is_told(tmp_path, capsys, text):
    (tmp_path / "config.json").write_text(text)
    assert run(tmp_path / "config.json", "--out", tmp_path / "m.gguf") == 1
    assert "config.json: JSON" in capsys.readouterr().err


def test_a_config_that_is_not_there_is_told(tmp_path, capsys):
    assert run(tmp_path / "no.json", "--out", tmp_path / "m.gguf") == 1
    assert "no.json" in capsys.readouterr().err

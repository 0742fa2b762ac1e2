import hashlib
import json

import pytest
from adapters import save
from talkers import talker

import divebell
from divebell.cli import main


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A model that can talk, an adapter of it, and one of another."""
    root = tmp_path_factory.mktemp("merge")
    vocabulary = {"vocab_size": json.loads((talker(root / "llama") / "config.json").read_text())["vocab_size"]}
    save("llama", root / "adapter", shape=vocabulary)
    save("deepseek_v3", root / "foreign")
    return root


def run(*arguments: object) -> int:
    return main(["merge", *map(str, arguments)])


def test_it_tells_what_it_wrote(root, tmp_path, capsys):
    assert run(root / "llama", root / "adapter", "--out", tmp_path / "out", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    weights = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert shown["sha256"] == {"model.safetensors": hashlib.sha256(weights).hexdigest()}
    assert (shown["tensors"], shown["merged"], shown["dtypes"]) == (30, 21, ["F32"])
    assert shown["bytes"] == len(weights) - 8 - int.from_bytes(weights[:8], "little")


def test_what_is_merged_talks_and_can_be_quantized(root, tmp_path, capsys):
    assert run(root / "llama", root / "adapter", "--out", tmp_path / "out") == 0
    assert "sha256 of model.safetensors" in capsys.readouterr().out
    turn, asked = [{"role": "user", "content": "four?"}], {"temperature": 0, "max_tokens": 12}
    with divebell.load(root / "llama", "f32", adapters={"own": root / "adapter"}) as llm:
        expected = llm.chat(turn, adapter="own", **asked).text
    with divebell.load(tmp_path / "out", "f32") as llm:
        assert llm.chat(turn, **asked).text == expected
    quantized = ["quantize", str(tmp_path / "out"), "--format", "q8", "--out", str(tmp_path / "q8"), "--tokens", "256"]
    assert main([*quantized, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["divergence"] < 0.01


@pytest.mark.parametrize(
    ("adapter", "out", "says"),
    [
        ("foreign", "out", "is an adapter for another model"),
        ("llama", "out", "is no adapter: it must be a folder with adapter_config.json and adapter_model.safetensors"),
        ("adapter", "", "give the name of a new folder"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(root, tmp_path, capsys, adapter, out, says):
    assert run(root / "llama", root / adapter, "--out", tmp_path / out) == 1
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_would_compute_something_else_is_refused_by_name(root, tmp_path, capsys):
    save("llama", tmp_path / "dora", use_dora=True, shape={"vocab_size": 320})
    assert run(root / "llama", tmp_path / "dora", "--out", tmp_path / "out") == 1
    assert "use_dora" in capsys.readouterr().err

import json

import pytest
from checkpoints import CONFIG_OF_LLAMA

import divebell
from divebell.cli import main
from divebell.errors import OverBudget
from divebell.models.synth import plan, synth
from divebell.weights.checkpoint import open_checkpoint
from divebell.weights.formats import D4, D8

CONFIG = CONFIG_OF_LLAMA | {"max_position_embeddings": 512}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A GGUF, a folder, and two texts."""
    root = tmp_path_factory.mktemp("models")
    synth(plan(CONFIG, "f16", folder=False), root / "m.gguf")
    synth(plan(CONFIG, "bf16", folder=True), root / "m")
    (root / "one.txt").write_text("abcdefghij" * 60)
    (root / "two.txt").write_text("qrstuvwxyz" * 60)
    return root


def run(*arguments: object) -> int:
    return main(["quantize", *map(str, arguments)])


@pytest.mark.parametrize("name", ["m.gguf", "m"])
@pytest.mark.parametrize(("format", "most"), [("q4", 0.3), ("q8", 0.01)])
def test_it_tells_bytes_bits_and_the_divergence(root, tmp_path, capsys, name, format, most):
    out = tmp_path / name
    texts = ["--calibration", root / "one.txt", "--text", root / "two.txt", "--tokens", 300]
    assert run(root / name, "--format", format, "--out", out, "--json", *texts) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["bytes"] == sum(tensor.nbytes for tensor in open_checkpoint(out).tensors.values())
    assert shown["bytes"] < shown["bytes_before"]
    assert 4.3 < shown["bits_a_weight"] < 10
    assert 0 < shown["divergence"] < most
    assert shown["divergence"] < shown["divergence_percentile_99"]
    assert shown["tokens"] == 300
    main_format = {"q4": D4, "q8": D8}[format]
    assert sum(tensor.format is main_format for tensor in open_checkpoint(out).tensors.values()) >= 14


def test_without_texts_the_model_writes_them(root, tmp_path, capsys):
    assert run(root / "m.gguf", "--out", tmp_path / "a.gguf", "--tokens", 200, "--json") == 0
    first = json.loads(capsys.readouterr().out)
    assert first["tokens"] == 256
    assert run(root / "m.gguf", "--out", tmp_path / "b.gguf", "--tokens", 200) == 0
    assert "divergence" in capsys.readouterr().out
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_the_calibration_text_matters(root, tmp_path):
    for name in ("one", "two"):
        texts = ["--calibration", root / f"{name}.txt", "--text", root / "one.txt"]
        assert run(root / "m.gguf", "--out", tmp_path / f"{name}.gguf", *texts) == 0
    assert (tmp_path / "one.gguf").read_bytes() != (tmp_path / "two.gguf").read_bytes()


def test_where_float32_does_not_fit_there_is_a_file_but_no_divergence(root, tmp_path, capsys, monkeypatch):
    load = divebell.load

    def small(path, weights="stored", **more):
        if weights == "f32":
            raise OverBudget("weights 1 TiB, and 1 GiB may be used")
        return load(path, weights=weights, **more)

    monkeypatch.setattr(divebell, "load", small)
    assert run(root / "m.gguf", "--out", tmp_path / "out.gguf", "--tokens", 128, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["divergence"] is None
    assert "1 TiB" in shown["not_measured"]
    assert (tmp_path / "out.gguf").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--format", "q5"], "format 'q5' is not supported; known: q4, q8"),
        (["--tokens", 3], "tokens is 3; it must be 16 or more"),
        (["--text", "short.txt"], "short.txt has"),
        (["--calibration", "none.txt"], "none.txt"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(root, tmp_path, capsys, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.txt").write_text("ab")
    assert run(root / "m.gguf", "--out", "out.gguf", *arguments) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out.gguf").exists()


@pytest.mark.parametrize(("out", "says"), [("m.gguf", "exists"), ("m", "exists"), ("new", "must be named .gguf")])
def test_the_source_is_never_written_over(root, capsys, out, says):
    before = (root / "m.gguf").read_bytes()
    assert run(root / "m.gguf", "--out", root / out) == 1
    assert says in capsys.readouterr().err
    assert (root / "m.gguf").read_bytes() == before

"""Whole checkpoints in D4 and D8: what changes, what stays, and that the result is the same model."""

import json

import numpy as np
import pytest
from checkpoints import build, save
from gguf_files import write
from running import logits

from divebell import models
from divebell.errors import BadInput, Mismatch, Unsupported
from divebell.models.quantize import plan, quantize
from divebell.models.synth import plan as synth_plan
from divebell.models.synth import synth
from divebell.ops import native
from divebell.weights.checkpoint import open_checkpoint
from divebell.weights.formats import D4, D8, F32

NAMES = ["llama", "llama-tied-llama3", "deepseek_v2-lite", "deepseek_v3"]
IDS = np.random.default_rng(0).integers(0, 320, 40).astype(np.int32)


def evenly(name: str, parts: int | None) -> None:
    return None


@pytest.fixture(scope="module", params=NAMES)
def folder(request, tmp_path_factory):
    return save(request.param, tmp_path_factory.mktemp("source") / request.param)


def source(kind: str, root) -> object:
    if kind == "folder":
        return open_checkpoint(save("llama", root / "source"))
    return open_checkpoint(write(build("llama"), root / "source.gguf"))


def named(kind: str, root):
    return root / ("out.gguf" if kind == "gguf" else "out")


@pytest.mark.parametrize("kind", ["folder", "gguf"])
def test_the_result_is_what_the_planned_formats_make_of_the_source(kind, tmp_path):
    checkpoint, out = source(kind, tmp_path), named(kind, tmp_path)
    planned = plan(checkpoint, "q4")
    quantize(planned, out, evenly)
    found = open_checkpoint(out)
    assert {t.name: t.format for t in found.tensors.values()} == {e.name: e.format for e in planned.entries}
    for name, tensor in found.tensors.items():
        before, after = checkpoint.tensors[name].f32(), tensor.f32()
        assert (before - after).std() <= {F32: 0, D8: 0.006, D4: 0.09}[tensor.format] * before.std()
    assert planned.after == sum(tensor.nbytes for tensor in found.tensors.values()) < planned.before / 2


def test_a_quantized_folder_computes_as_the_same_model_does(folder, tmp_path):
    checkpoint = open_checkpoint(folder)
    quantize(plan(checkpoint, "q8"), tmp_path / "out", evenly)
    exact = logits(models.load(checkpoint, native, "f32"), IDS)
    stored = logits(models.load(open_checkpoint(tmp_path / "out"), native), IDS)
    assert np.median(np.abs(stored - exact)) < 0.06 * exact.std()


def test_what_gets_fewer_bits_and_what_does_not(tmp_path):
    checkpoint = open_checkpoint(save("deepseek_v3", tmp_path / "source"))
    formats = {entry.name: entry.format for entry in plan(checkpoint, "q4").entries}
    assert formats["model.embed_tokens.weight"] is D8
    assert formats["lm_head.weight"] is D8
    assert formats["model.layers.1.mlp.experts.3.up_proj.weight"] is D4
    assert formats["model.layers.0.mlp.gate_proj.weight"] is D4
    for kept in ("model.layers.1.mlp.gate.weight", "model.layers.1.input_layernorm.weight", "model.norm.weight"):
        assert formats[kept] is F32
    assert formats["model.layers.0.self_attn.o_proj.weight"] is F32  # 4 heads of 20: no multiple of 32


def test_what_has_no_more_bits_already_stays_as_it_is(tmp_path):
    checkpoint = source("folder", tmp_path)
    quantize(plan(checkpoint, "q4"), tmp_path / "q4", evenly)
    again = open_checkpoint(tmp_path / "q4")
    quantize(plan(again, "q8"), tmp_path / "q8", evenly)
    for name, tensor in open_checkpoint(tmp_path / "q8").tensors.items():
        assert tensor.format is again.tensors[name].format
        np.testing.assert_array_equal(tensor.data, again.tensors[name].data)


@pytest.mark.parametrize(("format", "expected"), [("q4", D4), ("q8", D8)])
def test_fp8_with_its_scales_becomes_one_tensor(format, expected, tmp_path):
    shape = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 1, "num_attention_heads": 2}
    values = shape | {"model_type": "llama", "vocab_size": 300, "max_position_embeddings": 64}
    synth(synth_plan(values, "fp8", folder=True), tmp_path / "source")
    checkpoint = open_checkpoint(tmp_path / "source")
    quantize(plan(checkpoint, format), tmp_path / "out", evenly)
    found, name = open_checkpoint(tmp_path / "out").tensors, "model.layers.0.mlp.up_proj.weight"
    assert set(found) == set(checkpoint.tensors)
    assert (found[name].format, found[name].scales) == (expected, None)
    before, after = checkpoint.tensors[name].f32(), found[name].f32()
    assert (before - after).std() < 0.09 * before.std()


def test_the_importance_of_each_tensor_is_asked_for_and_used(tmp_path):
    asked = {}

    def importance(name, parts):
        asked[name] = parts
        return np.geomspace(1, 1e6, 64).astype(np.float32) if name.endswith("q_proj.weight") else None

    checkpoint = source("folder", tmp_path)
    quantize(plan(checkpoint, "q4"), tmp_path / "weighed", importance)
    quantize(plan(checkpoint, "q4"), tmp_path / "plain", evenly)
    name = "model.layers.0.self_attn.q_proj.weight"
    assert asked[name] is None
    assert "model.norm.weight" not in asked
    weighed, plain = (open_checkpoint(tmp_path / w).tensors[name].f32() for w in ("weighed", "plain"))
    exact = checkpoint.tensors[name].f32()
    assert np.abs(weighed - exact)[:, -8:].mean() < 0.9 * np.abs(plain - exact)[:, -8:].mean()


def test_a_folder_keeps_its_other_files_and_says_what_it_is(tmp_path):
    checkpoint = source("folder", tmp_path)
    (tmp_path / "source" / "tokenizer.json").write_text("{}")
    (tmp_path / "source" / "pytorch_model.bin").write_text("a pickle")
    quantize(plan(checkpoint, "q4"), tmp_path / "out", evenly)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"config.json", "generation_config.json", "tokenizer.json", "model.safetensors"}
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["quantization_config"] == {"quant_method": "divebell"}


@pytest.mark.parametrize(
    ("kind", "out", "says"),
    [
        ("folder", "source", "exists"),
        ("gguf", "source.gguf", "exists"),
        ("folder", "out.gguf", "is a folder, and so is the result"),
        ("gguf", "out", "must be named .gguf"),
        ("folder", "no/out", "not a folder"),
    ],
)
def test_where_nothing_can_be_written_is_told(kind, out, says, tmp_path):
    planned = plan(source(kind, tmp_path), "q4")
    with pytest.raises(BadInput, match=says):
        quantize(planned, tmp_path / out, evenly)


def test_another_format_is_refused(tmp_path):
    with pytest.raises(Unsupported, match=r"'q5'.*known: q4, q8"):
        plan(source("folder", tmp_path), "q5")


@pytest.mark.parametrize("kind", ["folder", "gguf"])
def test_a_damaged_tensor_is_named_and_nothing_is_left(kind, tmp_path):
    model = build("llama")
    model.model.layers[1].mlp.up_proj.weight.data[3, 5] = float("nan")
    if kind == "folder":
        model.save_pretrained(tmp_path / "source")
        path = tmp_path / "source"
    else:
        path = write(model, tmp_path / "source.gguf")
    with pytest.raises(Mismatch, match=r"layers.1.mlp.up_proj|blk.1.ffn_up"):
        quantize(plan(open_checkpoint(path), "q4"), named(kind, tmp_path), evenly)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]

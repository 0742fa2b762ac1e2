"""A checkpoint that contradicts its configuration is refused by name; damage is told; draft layers are left alone."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from checkpoints import build
from routing import Margins
from running import logits
from safetensors.torch import load_file, save_file

from divebell import models
from divebell.errors import BadInput, Mismatch, Unsupported
from divebell.ops import reference as ops
from divebell.weights.checkpoint import open_checkpoint

IDS = np.random.default_rng(5).integers(0, 320, 120).tolist()


def altered(name: str, folder: Path, change, **fields) -> Path:
    """A saved tiny model whose tensors went through `change` and whose config.json got `fields`."""
    build(name).save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))
    return folder


def load(folder: Path, weights: str = "stored"):
    return models.load(open_checkpoint(folder), ops, weights)


def test_a_missing_tensor(tmp_path):
    altered("llama", tmp_path, lambda t: t.pop("model.layers.1.self_attn.k_proj.weight"))
    with pytest.raises(Mismatch, match=r"missing: model\.layers\.1\.self_attn\.k_proj\.weight"):
        load(tmp_path)


def test_a_missing_expert(tmp_path):
    altered("deepseek_v3", tmp_path, lambda t: t.pop("model.layers.2.mlp.experts.9.up_proj.weight"))
    with pytest.raises(Mismatch, match=r"missing: model\.layers\.2\.mlp\.experts\.9\.up_proj\.weight"):
        load(tmp_path)


def test_left_over_tensors(tmp_path):
    altered("llama", tmp_path, lambda t: t.update({"model.layers.3.mlp.up_proj.weight": torch.zeros(2, 2)}))
    with pytest.raises(Mismatch, match=r"left over: model\.layers\.3\.mlp\.up_proj\.weight"):
        load(tmp_path)


def test_a_shape_that_contradicts_the_configuration(tmp_path):
    altered("llama", tmp_path, lambda t: None, intermediate_size=96)
    with pytest.raises(
        Mismatch, match=r"gate_proj\.weight is 112x64 but the configuration asks for 96x64.* and 4 more"
    ):
        load(tmp_path)


def test_what_can_be_derived_is_no_left_over(tmp_path):
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}
    altered("llama-tied-llama3", tmp_path, lambda t: t.update(extra | {"lm_head.weight": torch.zeros(320, 64)}))
    assert np.isfinite(logits(load(tmp_path, "f32"), IDS[:8])).all()


@pytest.mark.parametrize("name", ["llama-tied-llama3", "qwen2-tied-window", "deepseek_v3-biases-halves"])
def test_a_stored_head_of_its_own_is_used_though_the_configuration_calls_it_tied(name, tmp_path):
    head = torch.linspace(-1, 1, 320 * 64).reshape(320, 64)
    tied = altered(name, tmp_path / "tied", lambda t: t.update({"lm_head.weight": head}))
    own = altered(name, tmp_path / "own", lambda t: t.update({"lm_head.weight": head}), tie_word_embeddings=False)
    assert np.array_equal(logits(load(tied), IDS[:8]), logits(load(own), IDS[:8]))


def test_a_stored_head_that_is_the_embedding_is_left(tmp_path):
    copied = altered(
        "llama-tied-llama3",
        tmp_path,
        lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()}),
    )
    assert models.configuration(open_checkpoint(copied)).tied


def test_draft_layers_are_recognised_and_left(tmp_path):
    def add_draft(tensors):
        layer = {k.replace("layers.2.", "layers.3."): v.clone() for k, v in tensors.items() if ".layers.2." in k}
        names = ("enorm.weight", "hnorm.weight", "eh_proj.weight", "embed_tokens.weight", "shared_head.head.weight")
        tensors.update(layer | {f"model.layers.3.{name}": torch.zeros(4, 4) for name in names})

    folder = altered("deepseek_v3", tmp_path, add_draft, num_nextn_predict_layers=1)
    assert load(folder).config.draft_layers == 1
    assert models.describe(open_checkpoint(folder)).bytes["unused"] > 0
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_nextn_predict_layers": 0}))
    with pytest.raises(Mismatch, match=r"left over: model\.layers\.3\."):
        load(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_damage_in_a_norm_is_told_at_load(value, tmp_path):
    altered("llama", tmp_path, lambda t: t["model.layers.1.input_layernorm.weight"][3].fill_(value))
    with pytest.raises(Mismatch, match=r"model\.layers\.1\.input_layernorm\.weight holds NaN or infinity"):
        load(tmp_path)


def test_damage_in_a_matrix_is_found_when_asked(tmp_path):
    altered("llama", tmp_path, lambda t: t["model.layers.2.mlp.up_proj.weight"][3, 4].fill_(float("nan")))
    model = load(tmp_path)
    with pytest.raises(Mismatch, match=r"model\.layers\.2\.mlp\.up_proj\.weight holds NaN or infinity"):
        model.check_weights()


def test_sound_weights_pass_the_check(tiny):
    load(tiny("deepseek_v3")).check_weights()


def test_unknown_conversions_are_refused(tiny):
    with pytest.raises(BadInput, match="weights is 'q3'; give one of stored, f32, bf16, q8, q4"):
        load(tiny("llama"), "q3")


def test_the_cache_is_float32_only_for_float32_weights(tiny):
    assert load(tiny("llama"), "f32").cache_dtype == np.float32
    assert load(tiny("llama")).cache_dtype == ml_dtypes.bfloat16


@pytest.mark.parametrize(("method", "block"), [("awq", [128, 128]), ("fp8", None), ("fp8", [1, 32])])
def test_other_quantizations_are_refused_by_name(method, block, tmp_path):
    scheme = {"quant_method": method, "weight_block_size": block}
    altered("llama", tmp_path, lambda t: None, quantization_config=scheme)
    with pytest.raises(Unsupported, match=r"quantization_config\."):
        load(tmp_path)


def test_fp8_blocks_as_v3_is_released(tmp_path):
    """Against transformers holding scale * e4m3; sizes that leave partial blocks at both edges."""
    sizes = {"hidden_size": 192, "moe_intermediate_size": 160, "intermediate_size": 144, "q_lora_rank": 136}
    model = build("deepseek_v3", **sizes)
    model.save_pretrained(tmp_path)
    tensors, rounded = _released_in_fp8(load_file(tmp_path / "model.safetensors"))
    save_file(rounded, tmp_path / "model.safetensors")
    same = type(model).from_pretrained(tmp_path, dtype=torch.float32, attn_implementation="sdpa")
    save_file(tensors, tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    scheme = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
    (tmp_path / "config.json").write_text(json.dumps(config | {"quantization_config": scheme}))
    margins = Margins(same)
    with torch.no_grad():
        expected = same(torch.tensor(IDS)[None]).logits[0].numpy()
    difference = np.abs(logits(load(tmp_path, "f32"), IDS) - expected).max(axis=1) / expected.std()
    assert difference[~margins.tied(len(IDS))].max() <= 2e-4


def _released_in_fp8(tensors: dict) -> tuple[dict, dict]:
    """What V3's release stores, and the float32 numbers that it stands for."""
    stored, rounded = {}, {}
    for name, tensor in tensors.items():
        if "_proj" not in name:
            stored[name] = rounded[name] = tensor
            continue
        scales = torch.rand(-(-tensor.shape[0] // 128), -(-tensor.shape[1] // 128)) * 0.01 + 0.001
        spread = scales.repeat_interleave(128, 0).repeat_interleave(128, 1)[: tensor.shape[0], : tensor.shape[1]]
        stored[name] = (tensor / spread).clamp(-448, 448).to(torch.float8_e4m3fn)
        stored[f"{name}_scale_inv"], rounded[name] = scales, stored[name].float() * spread
    return stored, rounded


@pytest.mark.parametrize(("weights", "moved"), [("stored", True), ("f32", False)])
@pytest.mark.parametrize("name", ["deepseek_v2-lite", "llama-tied-llama3"])
def test_what_is_multiplied_as_it_is_stored_is_arranged_once(tiny, name, weights, moved):
    checkpoint, seen = open_checkpoint(tiny(name)), []
    models.load(checkpoint, ops, weights, arranged=lambda tensor: seen.append(tensor.name) or tensor)
    assert len(seen) == len(set(seen))
    if not moved:
        assert not seen
        return
    tied = name == "llama-tied-llama3"
    left = {n for n, t in checkpoint.tensors.items() if len(t.shape) > 1} - set(seen)
    looked_up = [] if tied else ["model.embed_tokens.weight"]
    assert sorted(n for n in left if not n.endswith(("kv_b_proj.weight", "mlp.gate.weight"))) == looked_up

"""Adapters merged into weights, against peft's own merge and against what runs beside the weights."""

import json
from pathlib import Path

import gguf_files
import numpy as np
import peft
import pytest
import safetensors.torch as torch_files
import torch
import transformers
from adapters import logits as torch_logits
from adapters import save
from checkpoints import SHAPES, build
from checkpoints import save as save_checkpoint
from running import logits
from safetensors.numpy import load_file, save_file
from small_tokenizers import byte_level_library, gguf_fields

from divebell import models
from divebell.errors import BadInput, Mismatch
from divebell.models.merge import plan
from divebell.models.quantize import plan as plan_quantized
from divebell.models.quantize import quantize
from divebell.ops import native
from divebell.weights import write_safetensors
from divebell.weights.adapter import read_adapter
from divebell.weights.checkpoint import open_checkpoint

TOLERANCE = 2e-4  # of the logits' deviation
IDS = np.random.default_rng(1).integers(0, 320, 40, np.int32)


def merged(base, adapter, out):
    plan(open_checkpoint(base), read_adapter(adapter)).write(out)
    return out


def loaded(folder, **settings) -> torch.nn.Module:
    """By transformers."""
    return transformers.AutoModelForCausalLM.from_pretrained(folder, **settings).eval()


def served(path, weights="f32", ids=IDS) -> np.ndarray:
    return logits(models.load(open_checkpoint(path), native, weights), ids)


def differs(found, expected) -> float:
    return float(np.abs(found - expected).max() / expected.std())


@pytest.mark.parametrize("name", SHAPES)
def test_it_is_what_peft_merges(name, tiny, tmp_path):
    expected = save(name, tmp_path / "adapter").merge_and_unload()
    out = merged(tiny(name), tmp_path / "adapter", tmp_path / "out")
    found = loaded(out)
    theirs = expected.state_dict()
    for key, tensor in found.state_dict().items():
        assert (tensor - theirs[key]).abs().max() <= 1e-6 * theirs[key].abs().max(), key
    assert differs(torch_logits(found, IDS), torch_logits(expected, IDS)) <= TOLERANCE
    assert differs(served(out), torch_logits(expected, IDS)) <= TOLERANCE
    assert differs(served(tiny(name)), torch_logits(expected, IDS)) > 0.1


@pytest.mark.parametrize("name", ["qwen2", "deepseek_v3"])
def test_what_is_not_changed_is_copied_bit_for_bit(name, tmp_path):
    base = save_checkpoint(name, tmp_path / "base", dtype=torch.bfloat16)
    (base / "tokenizer.json").write_text("{}")
    (base / "additional_chat_templates").mkdir()
    (base / "additional_chat_templates" / "rag.jinja").write_text("x")
    save(name, tmp_path / "adapter", target_modules=["o_proj"])
    out = merged(base, tmp_path / "adapter", tmp_path / "out")
    before, after = load_file(base / "model.safetensors"), load_file(out / "model.safetensors")
    assert before.keys() == after.keys()
    for key in before:
        assert before[key].dtype == after[key].dtype
        assert np.array_equal(before[key].view(np.uint8), after[key].view(np.uint8)) == ("o_proj" not in key), key
    others = {"config.json", "generation_config.json", "tokenizer.json", "additional_chat_templates/rag.jinja"}
    for file in others:
        assert (out / file).read_text() == (base / file).read_text() or file == "config.json"
    assert json.loads((out / "config.json").read_text()) == json.loads((base / "config.json").read_text())
    assert {p.name for p in out.iterdir()} == {p.name for p in base.iterdir()}


@pytest.mark.parametrize(("dtype", "unit"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_halves_are_rounded_once(dtype, unit, tmp_path):
    """Against the sum in float64: half a unit in the last place, and what float32 leaves."""
    base = save_checkpoint("llama", tmp_path / "base", dtype=dtype)
    save("llama", tmp_path / "adapter")
    out = merged(base, tmp_path / "adapter", tmp_path / "out")
    before, after = (load_file(folder / "model.safetensors") for folder in (base, out))
    for module, pair in read_adapter(tmp_path / "adapter").pairs.items():
        name = f"{module}.weight"
        exact = before[name].astype(np.float64) + 6 / 4 * pair.b.astype(np.float64) @ pair.a.astype(np.float64)
        error = np.abs(after[name].astype(np.float64) - exact)
        assert (error <= np.abs(exact) * unit * 1.001 + 1e-6).all(), name


PARTIAL = {"hidden_size": 192, "moe_intermediate_size": 160, "intermediate_size": 144, "q_lora_rank": 136}
_ALL = ("moe_intermediate_size", "q_lora_rank", "kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim")
WHOLE = {"hidden_size": 256, "intermediate_size": 256, **dict.fromkeys(_ALL, 128)}


def in_fp8(tensors: dict, powers: bool) -> tuple[dict, dict]:
    """What V3's release stores, and the float32 numbers that it stands for."""
    stored, rounded = {}, {}
    torch.manual_seed(0)
    for name, tensor in tensors.items():
        if "_proj" not in name:
            stored[name] = rounded[name] = tensor
            continue
        exponents = torch.empty([-(-size // 128) for size in tensor.shape]).uniform_(-9, -6)
        scales = torch.exp2(exponents.round() if powers else exponents)
        stored[name] = (tensor / spread(scales, tensor)).clamp(-448, 448).to(torch.float8_e4m3fn)
        stored[f"{name}_scale_inv"], rounded[name] = scales, stored[name].float() * spread(scales, tensor)
    return stored, rounded


def spread(scales: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """A scale for each number."""
    return scales.repeat_interleave(128, 0).repeat_interleave(128, 1)[: matrix.shape[0], : matrix.shape[1]]


def described(base: Path, scheme: dict) -> dict:
    """Base's config.json, with a quantization_config from now on."""
    config = json.loads((base / "config.json").read_text()) | {"quantization_config": scheme}
    (base / "config.json").write_text(json.dumps(config))
    return config


@pytest.mark.parametrize(("sizes", "powers"), [(PARTIAL, False), (WHOLE, True)])
def test_fp8_blocks_stay_so_with_new_scales(sizes, powers, tmp_path):
    """Against peft's merge of the numbers that the blocks stand for. transformers takes whole blocks alone."""
    base = save_checkpoint("deepseek_v3", tmp_path / "base", **sizes)
    stored, rounded = in_fp8(torch_files.load_file(base / "model.safetensors"), powers)
    torch_files.save_file(rounded, base / "model.safetensors")
    save("deepseek_v3", tmp_path / "adapter", shape=sizes, exclude_modules=["o_proj"])
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    expected = peft_merge(model, tmp_path / "adapter", tmp_path / "expected")
    torch_files.save_file(stored, base / "model.safetensors")
    scheme = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
    config = described(base, scheme | ({"scale_fmt": "ue8m0"} if powers else {}))
    out = merged(base, tmp_path / "adapter", tmp_path / "out")
    assert json.loads((out / "config.json").read_text()) == config
    found = torch_files.load_file(out / "model.safetensors")
    assert {k: (v.dtype, v.shape) for k, v in found.items()} == {k: (v.dtype, v.shape) for k, v in stored.items()}
    changed = {name for name, values in expected.items() if not np.array_equal(values, rounded[name].numpy())}
    assert {"self_attn.kv_b_proj", "mlp.experts.3.up_proj"} <= {name[15:-7] for name in changed}
    for name in expected:
        if name not in changed:
            assert torch.equal(found[name].view(torch.uint8), stored[name].view(torch.uint8)), name
        elif "_proj" not in name:  # the router
            assert differs(found[name].numpy(), expected[name]) <= 1e-6
        else:
            check_fp8(found[name], found[f"{name}_scale_inv"], torch.from_numpy(expected[name]), powers)
    assert differs(served(out), served(base)) > 0.1
    if sizes is WHOLE:
        whole = transformers.FineGrainedFP8Config(dequantize=True)
        theirs = loaded(out, quantization_config=whole, dtype=torch.float32)
        assert differs(torch_logits(theirs, IDS), served(out)) <= TOLERANCE


def check_fp8(numbers: torch.Tensor, scales: torch.Tensor, exact: torch.Tensor, powers: bool) -> None:
    """Half a unit in the last place, normal or not; scales use the format's range, or half of it."""
    each = spread(scales, exact)
    error = (numbers.float() * each - exact).abs()
    assert (error <= torch.maximum(exact.abs() * 2**-4, each * 2**-10) * 1.001).all()
    assert numbers.float().abs().max() >= (224 if powers else 448)
    assert not powers or (scales.log2() % 1 == 0).all()


def peft_merge(model, adapter, folder) -> dict:
    """What peft's merge saves, by released names."""
    peft.PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(folder)
    return load_file(folder / "model.safetensors")


TOKENS = byte_level_library()
VOCABULARY = {"vocab_size": TOKENS.get_vocab_size()}


@pytest.mark.parametrize("name", ["llama-tied-llama3", "mistral-window", "qwen2", "deepseek_v2-groups", "deepseek_v3"])
def test_a_gguf_becomes_a_folder_as_the_original_was(name, tmp_path):
    model = build(name, **VOCABULARY)
    base = gguf_files.write(model, tmp_path / "m.gguf", tokenizer=gguf_fields(TOKENS, "llama-bpe"))
    save(name, tmp_path / "adapter", shape=VOCABULARY)
    expected = peft_merge(model, tmp_path / "adapter", tmp_path / "expected")
    out = merged(base, tmp_path / "adapter", tmp_path / "out")
    found = load_file(out / "model.safetensors")
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert np.abs(found[key] - values).max() <= 1e-6 * np.abs(values).max(), key
    whole = torch_logits(loaded(tmp_path / "expected"), IDS)
    assert differs(torch_logits(loaded(out), IDS), whole) <= TOLERANCE
    assert differs(served(out), whole) <= TOLERANCE
    assert (out / "tokenizer.json").exists()


def test_from_quantized_blocks_it_becomes_bfloat16(tmp_path):
    model = build("llama", **VOCABULARY)
    form = gguf_files._TYPES.Q8_0
    gguf_files.write(model, tmp_path / "m.gguf", form=form, tokenizer=gguf_fields(TOKENS, "llama-bpe"))
    save("llama", tmp_path / "adapter", shape=VOCABULARY, target_modules=["q_proj"])
    out = merged(tmp_path / "m.gguf", tmp_path / "adapter", tmp_path / "out")
    assert json.loads((out / "config.json").read_text())["torch_dtype"] == "bfloat16"
    assert loaded(out).dtype == torch.bfloat16
    found, known = load_file(out / "model.safetensors"), peft_merge(model, tmp_path / "adapter", tmp_path / "theirs")
    for key, values in known.items():
        assert np.abs(found[key].astype(np.float32) - values).max() <= 0.01 * np.abs(values).max(), key


@pytest.mark.parametrize("name", ["llama", "qwen2", "mistral", "deepseek_v2-lite", "deepseek_v3"])
def test_merged_and_with_8_bits_it_is_nearly_the_same(name, tiny, tmp_path):
    """KL in nats, of what runs from 8 bits, converted while loading and on disk, from peft's own logits."""
    ids = np.random.default_rng(2).integers(0, 320, 600, np.int32)
    expected = log_softmax(torch_logits(save(name, tmp_path / "adapter"), ids))
    out = merged(tiny(name), tmp_path / "adapter", tmp_path / "out")
    quantize(plan_quantized(open_checkpoint(out), "q8"), tmp_path / "q8", lambda name, parts: None)
    for path, weights in ((out, "q8"), (tmp_path / "q8", "stored")):
        found = log_softmax(served(path, weights, ids))
        assert (np.exp(expected) * (expected - found)).sum(axis=1).mean() <= 0.01


def log_softmax(rows: np.ndarray) -> np.ndarray:
    return torch.from_numpy(rows).double().log_softmax(-1).numpy()


def test_a_base_with_4_bits_of_ours_becomes_an_ordinary_folder(tiny, tmp_path):
    quantize(plan_quantized(open_checkpoint(tiny("llama")), "q4"), tmp_path / "q4", lambda name, parts: None)
    save("llama", tmp_path / "adapter")
    out = merged(tmp_path / "q4", tmp_path / "adapter", tmp_path / "out")
    assert "quantization_config" not in json.loads((out / "config.json").read_text())
    assert differs(torch_logits(loaded(out, dtype=torch.float32), IDS), served(out)) <= TOLERANCE


def test_a_large_one_is_in_shards_with_an_index(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(write_safetensors, "SHARD_BYTES", 100_000)
    expected = torch_logits(save("deepseek_v3", tmp_path / "adapter"), IDS)
    out = merged(tiny("deepseek_v3"), tmp_path / "adapter", tmp_path / "out")
    assert len(list(out.glob("model-*-of-*.safetensors"))) > 4
    assert differs(served(out), expected) <= TOLERANCE
    assert differs(torch_logits(loaded(out), IDS), expected) <= TOLERANCE


def test_nothing_half_is_left(tiny, tmp_path, monkeypatch):
    save("llama", tmp_path / "adapter")
    planned = plan(open_checkpoint(tiny("llama")), read_adapter(tmp_path / "adapter"))
    made = planned.tensors[-1]
    object.__setattr__(made, "make", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        planned.write(tmp_path / "out")
    assert not list(tmp_path.glob("out*"))
    (tmp_path / "out.part").mkdir()  # of a process that was killed
    (tmp_path / "out.part" / "model.safetensors").write_text("half")
    merged(tiny("llama"), tmp_path / "adapter", tmp_path / "out")
    assert not (tmp_path / "out.part").exists()
    for taken in (tmp_path / "adapter", tmp_path / "new.gguf", tmp_path / "none" / "out"):
        with pytest.raises(BadInput, match=r"give the name of a new folder|is not a folder"):
            planned.write(taken)


def test_what_is_no_number_is_not_written(tmp_path):
    base = save_checkpoint("llama", tmp_path / "base")
    save("llama", tmp_path / "adapter")
    tensors = load_file(base / "model.safetensors")
    tensors["model.layers.1.self_attn.q_proj.weight"][3, 5] = np.nan
    save_file(tensors, base / "model.safetensors")
    with pytest.raises(Mismatch, match=r"layers\.1\.self_attn\.q_proj\.weight: a sum is NaN or infinite"):
        merged(base, tmp_path / "adapter", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_another_model_is_refused(tiny, tmp_path):
    save("qwen2", tmp_path / "adapter")
    with pytest.raises(Mismatch, match="is an adapter for another model"):
        plan(open_checkpoint(tiny("deepseek_v3")), read_adapter(tmp_path / "adapter"))

"""Random checkpoints: read back by the gguf package, by safetensors, by divebell and by llama.cpp."""

import json
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader
from safetensors import safe_open

from divebell import models
from divebell.errors import BadFile, BadInput, Unsupported
from divebell.models.synth import FOLDER_FORMATS, GGUF_FORMATS, plan, synth
from divebell.ops import reference
from divebell.ops.batch import Batch
from divebell.text.tokenizer import load_tokenizer
from divebell.weights.checkpoint import open_checkpoint

COMMON = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 1000,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
LATENT = {
    "kv_lora_rank": 128,
    "qk_nope_head_dim": 64,
    "qk_rope_head_dim": 32,
    "v_head_dim": 64,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 96,
    "first_k_dense_replace": 1,
}
YARN = {"type": "yarn", "factor": 4, "mscale": 0.7, "mscale_all_dim": 0.7, "original_max_position_embeddings": 128}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
CONFIGS = {
    "deepseek_v2": COMMON | LATENT | {"rope_scaling": YARN},
    "deepseek_v3": COMMON | LATENT | {"q_lora_rank": 64, "n_group": 4, "topk_group": 2, "num_nextn_predict_layers": 1},
    "llama": COMMON | {"rope_scaling": LLAMA3 | {"original_max_position_embeddings": 128}, "num_key_value_heads": 2},
    "mistral": COMMON | {"sliding_window": 64, "num_key_value_heads": 2},
    "qwen2": COMMON | {"tie_word_embeddings": True, "num_key_value_heads": 1},
}


def config(name: str) -> dict:
    return CONFIGS[name] | {"model_type": name, "_comment": "left out"}


def make(folder: Path, name: str, format: str, suffix: str = ".gguf", seed: int = 0) -> Path:
    out = folder / f"{name}-{format}-{seed}{suffix}"
    synth(plan(config(name), format, folder=suffix != ".gguf"), out, seed)
    return out


def logits(path: Path) -> np.ndarray:
    checkpoint = open_checkpoint(path)
    model = models.load(checkpoint, reference)
    ids = list(range(5, 25))
    cache = [
        {name: np.zeros((1, 64, width), np.float32) for name, width in layer.items()} for layer in model.cache_layout
    ]
    return model.logits(model.forward(Batch.of([ids], [0], [[0]]), cache))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("suffix", [".gguf", ""])
def test_every_architecture_loads_and_its_logits_vary(tmp_path, name, suffix):
    found = logits(make(tmp_path, name, "q8_0" if suffix else "bf16", suffix))
    assert found.shape == (20, 1000)
    assert np.isfinite(found).all()
    assert 0.3 < found.std() < 3


@pytest.mark.parametrize("format", GGUF_FORMATS)
def test_every_gguf_format_loads(tmp_path, format):
    assert np.isfinite(logits(make(tmp_path, "deepseek_v2", format))).all()


@pytest.mark.parametrize("format", FOLDER_FORMATS)
def test_every_folder_format_loads(tmp_path, format):
    assert np.isfinite(logits(make(tmp_path, "deepseek_v3", format, ""))).all()


@pytest.mark.parametrize("format", ["q4_0", "q4_k", "mxfp4", "f16"])
def test_the_gguf_package_reads_the_same_tensors(tmp_path, format):
    path, planned = make(tmp_path, "deepseek_v3", format), plan(config("deepseek_v3"), format, folder=False)
    reader = GGUFReader(path)
    found = {t.name: (t.tensor_type.name, tuple(map(int, t.shape[::-1])), t.n_bytes) for t in reader.tensors}
    wanted = {r.entry.name: (r.entry.format.name, r.entry.shape, r.entry.nbytes) for r in planned.randoms}
    assert found == wanted
    assert path.stat().st_size == pytest.approx(planned.nbytes, rel=0.05)


def test_safetensors_reads_the_same_tensors(tmp_path):
    path, planned = make(tmp_path, "deepseek_v3", "fp8", ""), plan(config("deepseek_v3"), "fp8", folder=True)
    with safe_open(path / "model.safetensors", "numpy") as file:
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  no mapping
    assert found == {r.entry.name: r.entry.shape for r in planned.randoms}
    described = json.loads((path / "config.json").read_text())
    assert described["quantization_config"]["weight_block_size"] == [128, 128]
    assert "_comment" not in described


def test_shards_have_an_index(tmp_path, monkeypatch):
    monkeypatch.setattr("divebell.weights.write_safetensors.SHARD_BYTES", 1_000_000)
    path = make(tmp_path, "llama", "bf16", "")
    assert len(list(path.glob("model-*-of-*.safetensors"))) > 2
    assert np.isfinite(logits(path)).all()


@pytest.mark.parametrize("suffix", [".gguf", ""])
def test_the_same_seed_gives_the_same_bytes(tmp_path, suffix):
    format = "q4_k" if suffix else "fp8"
    first, other = (make(tmp_path, "deepseek_v2", format, suffix, seed) for seed in (0, 1))
    (tmp_path / "again").mkdir()
    again = make(tmp_path / "again", "deepseek_v2", format, suffix)
    read = [(path if suffix else path / "model.safetensors").read_bytes() for path in (first, again, other)]
    assert read[0] == read[1] != read[2]


@pytest.mark.parametrize("suffix", [".gguf", ""])
def test_its_tokenizer_takes_any_text(tmp_path, suffix):
    checkpoint = open_checkpoint(make(tmp_path, "llama", "f32", suffix))
    tokenizer = load_tokenizer(checkpoint)
    ids = tokenizer.encode("Grüße, 你好!", add_special_tokens=False)
    assert tokenizer.decode(ids) == "Grüße, 你好!"
    assert max(ids) < tokenizer.vocabulary_size == 1000
    assert tokenizer.eos_ids == {1}


def test_what_is_unknown_is_refused_by_name():
    with pytest.raises(Unsupported, match=r"'fp8' is not supported; known: .*q4_0"):
        plan(config("llama"), "fp8", folder=False)
    with pytest.raises(Unsupported, match=r"safetensors.* 'q4_0' is not supported"):
        plan(config("llama"), "q4_0", folder=True)
    with pytest.raises(Unsupported, match="'mamba'"):
        plan(COMMON | {"model_type": "mamba"}, "f32", folder=True)
    with pytest.raises(BadFile, match="hidden_size: is missing"):
        plan({"model_type": "llama"}, "f32", folder=True)


def test_nothing_is_overwritten(tmp_path):
    path = make(tmp_path, "llama", "q4_0")
    with pytest.raises(BadInput, match="exists"):
        synth(plan(config("llama"), "q4_0", folder=False), path)


def test_a_full_disk_is_told_before_anything_is_written(tmp_path):
    huge = plan(config("llama") | {"intermediate_size": 1 << 30, "num_hidden_layers": 100}, "f32", folder=False)
    with pytest.raises(BadInput, match=r"bytes and .* are free"):
        synth(huge, tmp_path / "huge.gguf")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("divebell.models.synth.noise", fail)
    with pytest.raises(OSError, match="No space"):
        make(tmp_path, "llama", "q4_0")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_llama_cpp_runs_it(tmp_path, name):
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.warmup, params.fit_params = (
        str(make(tmp_path, name, "q4_0")),
        512,
        False,
        False,
    )
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    request = {"prompt": list(range(5, 25)), "n_predict": 2, "ignore_eos": True}
    answer = xllamacpp.Server(params).handle_completions(request)
    assert answer["usage"]["completion_tokens"] == 2

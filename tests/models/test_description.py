"""Figures of a model from headers alone, against published ones and against transformers' own count."""

import json

import pytest
from checkpoints import SHAPES, build, yarn

from divebell import models
from divebell.errors import BadFile, Unsupported
from divebell.weights.checkpoint import open_checkpoint

V3 = {
    "model_type": "deepseek_v3",
    "vocab_size": 129280,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "n_shared_experts": 1,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "n_group": 8,
    "topk_group": 4,
    "first_k_dense_replace": 3,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "routed_scaling_factor": 2.5,
    "max_position_embeddings": 163840,
    "num_nextn_predict_layers": 1,
    "rope_scaling": yarn(original=4096),
}
V2_LITE = V3 | {
    "model_type": "deepseek_v2",
    "vocab_size": 102400,
    "hidden_size": 2048,
    "intermediate_size": 10944,
    "moe_intermediate_size": 1408,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "n_shared_experts": 2,
    "n_routed_experts": 64,
    "num_experts_per_tok": 6,
    "first_k_dense_replace": 1,
    "q_lora_rank": None,
    "n_group": 1,
    "topk_group": 1,
}
KIMI = V3 | {
    "model_type": "kimi_k2",
    "vocab_size": 163840,
    "num_attention_heads": 64,
    "num_key_value_heads": 64,
    "n_routed_experts": 384,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
PUBLISHED = {  # billions of parameters, active billions, cache bytes per token
    "v3": (V3, 671.03, 36.63, 70272),
    "v2-lite": (V2_LITE, 15.706, 2.451, 31104),
    "kimi-k2": (KIMI, 1026.4, 31.7, 70272),
}


def described(config: dict, folder):
    (folder / "config.json").write_text(json.dumps(config))
    return models.describe_config(folder / "config.json")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name, tmp_path):
    config, total, active, cache = PUBLISHED[name]
    told = described(config, tmp_path)
    assert told.parameters / 1e9 == pytest.approx(total, rel=2e-4)
    assert told.active_parameters / 1e9 == pytest.approx(active, rel=1e-3)
    assert told.cache_bytes("bf16") == cache
    assert (told.layers, told.vocabulary) == (config["num_hidden_layers"], config["vocab_size"])


@pytest.mark.parametrize("name", SHAPES)
def test_counts_of_checkpoints_are_those_of_transformers(name, tiny):
    checkpoint = open_checkpoint(tiny(name))
    told, model = models.describe(checkpoint), build(name)
    corrections = sum(tensor.numel() for key, tensor in model.named_buffers() if "correction" in key)
    assert told.parameters == sum(tensor.numel() for tensor in model.parameters()) + corrections
    assert sum(told.bytes.values()) == 4 * told.parameters
    assert told.active_bytes == 4 * told.active_parameters


def test_a_dense_model_is_active_but_for_its_embedding(tiny):
    told = models.describe(open_checkpoint(tiny("llama")))
    assert told.parameters - told.active_parameters == 320 * 64
    assert told.experts == 0


def test_unknown_and_missing_model_types_are_told(tmp_path):
    with pytest.raises(Unsupported, match=r"'kimi_k3' is not supported; known: .*deepseek_v3"):
        described(V3 | {"model_type": "kimi_k3"}, tmp_path)
    with pytest.raises(BadFile, match=r"model_type: is missing"):
        described({}, tmp_path)

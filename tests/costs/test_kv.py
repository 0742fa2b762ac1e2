"""Cache bytes against the published ones."""

import pytest
from published import CONFIGS, GLM_52, llama

from divebell.costs.kv import cache_bytes
from divebell.errors import DivebellError

V2_LITE = {"num_hidden_layers": 27, "kv_lora_rank": 512, "qk_rope_head_dim": 64}
PUBLISHED = [
    ("deepseek-v2-lite", "bf16", 31_104, 0),
    ("moonlight", "bf16", 31_104, 0),
    ("deepseek-v2.5", "bf16", 69_120, 0),
    ("deepseek-v3", "bf16", 70_272, 0),
    ("deepseek-v3", "fp8", 40_016, 0),
    ("deepseek-v3.2", "fp8", 48_068, 0),
    ("deepseek-v4-flash", "bf16", 3_514, 43 * 128 * 584),
    ("deepseek-v4-pro", "bf16", 5_031, 61 * 128 * 584),
    ("deepseek-v4.1-flash", "bf16", 890, 40 * 128 * 528),
    ("kimi-k2", "bf16", 70_272, 0),
    ("glm-5", "bf16", 89_856 + 10_296, 0),
    ("glm-5.2", "bf16", 89_856 + 21 * 132, 0),
    ("kimi-k2.5", "bf16", 70_272, 0),
    ("longcat-flash", "bf16", 64_512, 0),
    ("glm-4.7-flash", "bf16", 54_144, 0),
    ("mistral-small-4", "bf16", 23_040, 0),
    ("llama-3.1-8b", "bf16", 131_072, 0),
    ("llama-3.1-70b", "bf16", 327_680, 0),
    ("llama-3.1-405b", "bf16", 516_096, 0),
    ("deepseek-67b", "bf16", 389_120, 0),
]
OTHERS = {
    "deepseek-v2-lite": V2_LITE,
    "llama-3.1-70b": llama(80),
    "llama-3.1-405b": llama(126),
    "deepseek-67b": llama(95),
    "glm-5.2": GLM_52,
    "kimi-k2.5": {"model_type": "kimi_k25", "text_config": CONFIGS["kimi-k2"]},
    "longcat-flash": {"model_type": "longcat_flash", "num_layers": 28, "kv_lora_rank": 512, "qk_rope_head_dim": 64},
}


@pytest.mark.parametrize(("name", "format", "per_token", "fixed"), PUBLISHED)
def test_bytes_are_the_published_ones(name, format, per_token, fixed):
    found = cache_bytes(CONFIGS.get(name) or OTHERS[name], format)
    assert (int(found.per_token), found.fixed) == (per_token, fixed)


V4, V41 = CONFIGS["deepseek-v4-flash"], CONFIGS["deepseek-v4.1-flash"]["text_config"]


@pytest.mark.parametrize(
    ("values", "format", "named"),
    [
        (V2_LITE, "int3", "int3"),
        ({}, "bf16", "num_attention_heads: is missing"),
        ({"num_attention_heads": 2, "head_dim": 64}, "bf16", "num_hidden_layers: is missing"),
        ({"num_hidden_layers": 72, "kv_lora_rank": 512}, "bf16", "qk_rope_head_dim: is missing"),
        (V2_LITE | {"linear_attn_config": {"full_attn_layers": [4]}}, "bf16", "linear_attn_config.* is not supported"),
        (GLM_52 | {"indexer_types": ["full"] * 77}, "bf16", "indexer_types: must be .* each of the 78 layers"),
        (GLM_52 | {"indexer_types": ["half"] * 78}, "bf16", "indexer_types: must be"),
        (V4 | {"compress_ratios": [0, 0, 4, 128, 4]}, "bf16", "compress_ratios: has 5 entries; each of the 43 layers"),
        (V41 | {"kv_source_layer_ids": None}, "bf16", "kv_source_layer_ids: must be"),
        (V41 | {"kv_source_layer_ids": [0]}, "bf16", "kv_source_layer_ids: must be numbers of layers that compress"),
    ],
)
def test_what_tells_no_cache_is_refused_by_name(values, format, named):
    with pytest.raises(DivebellError, match=named):
        cache_bytes(values, format)

import json

import pytest

from divebell import models
from divebell.cli import main
from divebell.cli.doctor import instruction_sets, model_row
from divebell.cli.known import SHAPES, Shape, weight_bytes

LLAMA_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_hidden_layers": 32,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
QWEN_7B = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "num_hidden_layers": 28,
    "vocab_size": 152064,
    "max_position_embeddings": 131072,
}
V2_LITE = {
    "model_type": "deepseek_v2",
    "hidden_size": 2048,
    "intermediate_size": 10944,
    "moe_intermediate_size": 1408,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "kv_lora_rank": 512,
    "q_lora_rank": None,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "first_k_dense_replace": 1,
    "topk_method": "greedy",
    "scoring_func": "softmax",
    "norm_topk_prob": False,
    "vocab_size": 102400,
    "max_position_embeddings": 163840,
}


@pytest.mark.parametrize(
    ("name", "config"),
    [("Llama-3.1-8B", LLAMA_8B), ("Qwen-7B", QWEN_7B), ("V2-Lite", V2_LITE)],
    ids=lambda x: str(x)[:9],
)
def test_known_shapes_are_what_their_architecture_counts(name, config):
    module = models.architecture(config["model_type"])
    read_config = module.Config.from_hf(config)
    parameters = module.parameters(read_config)
    share = config.get("num_experts_per_tok", 1) / config.get("n_routed_experts", 1)
    read = [p.count * (share if p.is_stack else 1) for p in parameters if p.kind != "embedding"]
    shape = next(shape for shape in SHAPES if name in shape.name)
    assert shape.parameters == sum(p.count for p in parameters)
    assert shape.read_per_token == sum(read)
    assert shape.cache_per_token == 2 * sum(sum(layer.values()) for layer in module.cache_layout(read_config))


def test_a_model_fits_when_memory_and_disk_hold_it():
    shape = Shape("tiny", 16_000_000, 8_000_000, 1000)
    assert weight_bytes(shape.parameters, "q4") == 8_625_000
    needed = 8_625_000 + 1000 * 4096 + (1 << 30)
    row = model_row(shape, "q4", memory=needed, read_gb_per_s=9.0, disk=8_624_999)
    assert (row["memory"], row["fits_memory"], row["fits_disk"]) == (needed, True, False)
    assert row["ceiling_tokens_per_s"] == pytest.approx(9e9 / 4.3125e6)
    assert not model_row(shape, "q4", memory=needed - 1, read_gb_per_s=9.0, disk=10**12)["fits_memory"]


def test_instruction_sets_say_what_is_used_and_what_is_not():
    flags = {
        "avx2",
        "fma",
        "f16c",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512dq",
        "avx512_vnni",
        "amx_tile",
        "avx512_bf16",
        "amx_bf16",
    }
    found = instruction_sets(flags, "avx512")
    assert found["avx512"] == "kernels in use"
    assert found["avx2"] == "kernels there; DIVEBELL_ISA=avx2 chooses them"
    assert found["avx512 + bf16"] == "kernels in use, for bfloat16 weights"
    assert found["amx"] == "kernels there; DIVEBELL_ISA=amx chooses them"
    assert instruction_sets(flags, "amx")["amx"] == "kernels in use, for many tokens and for attention"
    assert instruction_sets(flags - {"amx_bf16"}, "avx512")["amx"] == "the processor does not have it"
    assert instruction_sets(set(), "scalar")["scalar"] == "kernels in use"


def test_doctor_measures_and_estimates(capsys):
    assert main(["doctor", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    machine = figures["machine"]
    assert machine["read_gb_per_s"] > 0.1
    assert machine["int8_gmac_per_s"] > 0.1
    assert 0 < machine["memory_available"] <= machine["memory_total"]
    assert len(figures["models"]) == 2 * len(SHAPES)
    assert "an estimate, not a measurement" in figures["estimate"]
    assert main(["doctor"]) == 0
    assert "DeepSeek-V2-Lite" in capsys.readouterr().out

"""What new models begin from: a small config of each kind, and texts."""

import json
from pathlib import Path

from checkpoints import CONFIG_OF_LLAMA

V3 = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "moe_intermediate_size": 16,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "max_position_embeddings": 128,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "rope_theta": 10000.0,
    "num_nextn_predict_layers": 1,
    "initializer_range": 0.1,
}
CONFIGS = {"deepseek_v3": V3, "llama": CONFIG_OF_LLAMA}


def config(folder: Path, name: str = "deepseek_v3", **changes: object) -> str:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(CONFIGS[name] | changes))
    return str(path)


def texts(folder: Path) -> list[Path]:
    """A plain one, and rows: they count."""
    book, rows = folder / "book.txt", folder / "rows.jsonl"
    book.write_text("".join(f"after {i} comes {i + 1}. " for i in range(120)))
    rows.write_text("".join(json.dumps({"text": f"before {i} stands {i - 1}. " * 9}) + "\n" for i in range(20)))
    return [book, rows]

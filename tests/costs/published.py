"""config.json's of released models, as far as plans depend on them."""

import json
from pathlib import Path

CONFIGS = json.loads((Path(__file__).parent / "configs.json").read_text(encoding="utf-8"))
TYPES = ["full"] * 3 + (["shared"] * 3 + ["full"]) * 18 + ["shared"] * 3
GLM_52 = CONFIGS["glm-5"] | {"indexer_types": TYPES, "max_position_embeddings": 1_048_576}


def llama(layers: int) -> dict[str, int]:
    """Fields of Llama 3.1's cache, and of DeepSeek 67B's: 8 key-value heads of 128."""
    return {
        "num_hidden_layers": layers,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "hidden_size": 8192,
    }

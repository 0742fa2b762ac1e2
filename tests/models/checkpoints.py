"""Tiny random checkpoints, saved by transformers from its own classes: what models and engine are held against.

Weights are larger than a fresh model's, so that logits spread, attention is uneven and routing matters; norms are not
all ones, biases and the experts' correction not zero.
"""

from pathlib import Path
from typing import Any

import torch
import transformers

_SMALL = {"vocab_size": 320, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
_DENSE = _SMALL | {"intermediate_size": 112, "num_key_value_heads": 2, "max_position_embeddings": 2048}
_LATENT = _SMALL | {
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "num_key_value_heads": 4,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 24,
    "qk_rope_head_dim": 16,
    "v_head_dim": 20,
    "max_position_embeddings": 32768,
    "n_routed_experts": 16,
    "num_experts_per_tok": 4,
    "num_nextn_predict_layers": 0,
}
_V2 = _LATENT | {"first_k_dense_replace": 1, "n_shared_experts": 2, "norm_topk_prob": False}
_V3 = _LATENT | {
    "first_k_dense_replace": 1,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "n_group": 4,
    "topk_group": 2,
}

CONFIG_OF_LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 128,
}


def yarn(factor: float = 40.0, original: int = 256, mscale: float = 1.0, all_dim: float = 1.0, **more: Any) -> dict:
    return {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": factor,
        "original_max_position_embeddings": original,
        "beta_fast": 32,
        "beta_slow": 1,
        "mscale": mscale,
        "mscale_all_dim": all_dim,
    } | more


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}

# name -> (transformers class, configuration)
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", _DENSE),
    "llama-tied-llama3": ("Llama", _DENSE | {"tie_word_embeddings": True, "rope_parameters": LLAMA3}),
    "llama-biases-wide-heads": ("Llama", _DENSE | {"attention_bias": True, "mlp_bias": True, "head_dim": 32}),
    "llama-linear": (
        "Llama",
        _DENSE | {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}, "rms_norm_eps": 1e-5},
    ),
    "mistral-window": ("Mistral", _DENSE | {"sliding_window": 48}),
    "mistral": ("Mistral", _DENSE | {"sliding_window": None, "head_dim": 24, "rope_parameters": {"rope_theta": 1e6}}),
    "qwen2": ("Qwen2", _DENSE | {"rope_parameters": {"rope_theta": 1e6}}),
    "qwen2-tied-window": (
        "Qwen2",
        _DENSE
        | {"tie_word_embeddings": True, "use_sliding_window": True, "sliding_window": 32, "max_window_layers": 2},
    ),
    "deepseek_v2-lite": (
        "DeepseekV2",
        _V2 | {"q_lora_rank": None, "rope_parameters": yarn(mscale=0.707, all_dim=0.707)},
    ),
    "deepseek_v2-groups": (
        "DeepseekV2",
        _V2
        | {"q_lora_rank": 40, "topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2}
        | {"routed_scaling_factor": 4.0, "first_k_dense_replace": 0},
    ),
    "deepseek_v3": ("DeepseekV3", _V3 | {"q_lora_rank": 40, "rope_parameters": yarn()}),
    "deepseek_v3-moonlight": (
        "DeepseekV3",
        _V3
        | {"q_lora_rank": None, "n_group": 1, "topk_group": 1, "routed_scaling_factor": 2.446, "n_shared_experts": 2}
        | {"rope_parameters": {"rope_theta": 50000.0}, "rms_norm_eps": 1e-5},
    ),
    "deepseek_v3-biases-halves": (
        "DeepseekV3",
        _V3
        | {"q_lora_rank": 40, "attention_bias": True, "rope_interleave": False, "first_k_dense_replace": 2}
        | {"rope_parameters": yarn(mscale=0.8, all_dim=1.2), "tie_word_embeddings": True},
    ),
    "deepseek_v3-kimi": (
        "DeepseekV3",
        _V3
        | {"q_lora_rank": 40, "n_group": 1, "topk_group": 1, "routed_scaling_factor": 2.827}
        | {"rope_parameters": yarn(32.0, beta_fast=1.0, beta_slow=1.0, rope_theta=50000.0)},
    ),
}


def build(name: str, seed: int = 0, **changes: Any) -> transformers.PreTrainedModel:
    """A float32 model of SHAPES[name] in evaluation mode."""
    kind, settings = SHAPES[name]
    config = getattr(transformers, f"{kind}Config")(**settings | changes)
    torch.manual_seed(seed)
    model = getattr(transformers, f"{kind}ForCausalLM")._from_config(config, attn_implementation="sdpa").float().eval()
    enliven(model)
    return model


@torch.no_grad()
def enliven(model: transformers.PreTrainedModel) -> None:
    """Gives every tensor values that matter: matrices of unit gain, norms around one, biases a tenth."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if name.endswith("inv_freq"):
            continue
        if name.endswith(("norm.weight", "layernorm.weight")):
            tensor.normal_(1.0, 0.2)
        elif tensor.dim() == 1:
            tensor.normal_(0.0, 0.1)
        else:
            tensor.normal_(0.0, 1.0 if "embed_tokens" in name else tensor.shape[-1] ** -0.5)


def save(name: str, folder: Path, seed: int = 0, dtype: torch.dtype = torch.float32, **changes: Any) -> Path:
    """The same, saved as config.json and safetensors in `folder`."""
    build(name, seed, **changes).to(dtype).save_pretrained(folder)
    return folder

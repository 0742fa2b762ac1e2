"""The config.json that Hugging Face's classes read, of a GGUF: from its metadata, and from what its tensors tell."""

from typing import Any

import numpy as np

from divebell import models
from divebell.errors import Unsupported
from divebell.models.fields import Fields
from divebell.models.rope import Rope, rope_of_config

_CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "deepseek_v2": "DeepseekV2ForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM",
}
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def released_config(checkpoint: Any) -> dict[str, Any]:
    """Of a GGUF. Raises Unsupported for what no class of transformers does."""
    config = models.configuration(checkpoint)
    kind = _model_type(checkpoint, config)
    own = _latent_attention(config) if hasattr(config, "latent") else _grouped_attention(kind, config, checkpoint)
    return {
        "architectures": [_CLASSES[kind]],
        "model_type": kind,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden,
        "intermediate_size": config.width,
        "num_hidden_layers": config.layers,
        **own,
        "hidden_act": "silu",
        "rms_norm_eps": _short(config.eps),
        "max_position_embeddings": config.max_positions,
        "tie_word_embeddings": config.tied,
        "rope_parameters": _rope(checkpoint, config),
    }


def _model_type(checkpoint: Any, config: Any) -> str:
    """GGUF says "llama" of Mistral too, whose windows Llama's class does not have, and "deepseek2" of V2 and V3."""
    if hasattr(config, "latent"):
        return "deepseek_v2" if config.experts and config.experts.router.score == "softmax" else "deepseek_v3"
    return "mistral" if checkpoint.architecture == "llama" and any(config.windows) else checkpoint.architecture


def _grouped_attention(kind: str, config: Any, checkpoint: Any) -> dict[str, Any]:
    found, known = (config.qkv_bias, config.output_bias), {"llama": config.qkv_bias, "mistral": False, "qwen2": False}
    if found != (kind == "qwen2" or known[kind], known[kind]):
        raise Unsupported(f"{kind} with biases of q, k, v and of o", found, path=checkpoint.path)
    fields = {
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.groups,
        "head_dim": config.head_dim,
    }
    window = next(iter(config.windows), None)
    if kind == "llama":
        return fields | {"attention_bias": config.qkv_bias, "mlp_bias": False}
    if kind == "mistral":
        return fields | {"sliding_window": window}
    return fields | {"use_sliding_window": bool(window), "sliding_window": window, "max_window_layers": 0}


def _latent_attention(config: Any) -> dict[str, Any]:
    latent = config.latent
    return {
        "num_attention_heads": latent.heads,
        "num_key_value_heads": latent.heads,
        "q_lora_rank": latent.q_rank,
        "kv_lora_rank": latent.rank,
        "qk_nope_head_dim": latent.nope,
        "qk_rope_head_dim": latent.rope,
        "v_head_dim": latent.v,
        "attention_bias": latent.bias,
        "first_k_dense_replace": config.dense_layers if config.experts else config.layers,
        "num_nextn_predict_layers": 0,
        **(_experts(config.experts) if config.experts else {}),
    }


def _experts(experts: Any) -> dict[str, Any]:
    router = experts.router
    grouped = "group_limited_greedy" if router.groups > 1 else "greedy"
    return {
        "n_routed_experts": experts.count,
        "num_experts_per_tok": router.top_k,
        "moe_intermediate_size": experts.width,
        "n_shared_experts": experts.shared,
        "scoring_func": router.score,
        "topk_method": "noaux_tc" if router.score == "sigmoid" else grouped,
        "n_group": router.groups,
        "topk_group": router.kept_groups,
        "norm_topk_prob": router.renormalise,
        "routed_scaling_factor": _short(router.scale),
    }


def _short(number: float) -> float:
    """1e-05 for what float32, which metadata are, has as its nearest."""
    return float(str(np.float32(number)))


def _rope(checkpoint: Any, config: Any) -> dict[str, Any]:
    architecture = checkpoint.config["general.architecture"]
    fields = Fields(checkpoint.config, checkpoint.path, prefix=f"{architecture}.")
    theta = fields.number("rope.freq_base", 10000.0)
    if getattr(config, "rope_factors", False):
        return _divided(theta, config, checkpoint.tensors["rope_freqs.weight"].f32())
    kind = fields.text("rope.scaling.type", "none")
    if kind == "none":
        return {"rope_type": "default", "rope_theta": theta}
    found = {"rope_type": kind, "rope_theta": theta, "factor": fields.number("rope.scaling.factor", 1.0)}
    if kind == "yarn":
        original = fields.integer("rope.scaling.original_context_length", config.max_positions)
        found["original_max_position_embeddings"] = original
        found["beta_fast"] = fields.number("rope.scaling.yarn_beta_fast", 32.0)
        found["beta_slow"] = fields.number("rope.scaling.yarn_beta_slow", 1.0)
        all_dim = round(10 * fields.number("rope.scaling.yarn_log_multiplier", 0.0), 6)
        found |= dict.fromkeys(("mscale", "mscale_all_dim"), all_dim) if all_dim else {}
    return found


def _divided(theta: float, config: Any, factors: np.ndarray) -> dict[str, Any]:
    """Llama 3's scaling, if the factors are those of its released models; others one by one, as LongRoPE says them."""
    llama3 = {"rope_type": "llama3", "rope_theta": theta, "factor": float(factors.max()), **_LLAMA3}
    if np.allclose(_frequencies(llama3, config), config.rope.frequencies / factors, rtol=1e-5):
        return llama3
    listed = [float(factor) for factor in factors]
    return {
        "rope_type": "longrope",
        "rope_theta": theta,
        "factor": 1.0,
        "attention_factor": 1.0,
        "original_max_position_embeddings": config.max_positions,
        "short_factor": listed,
        "long_factor": listed,
    }


def _frequencies(parameters: dict[str, Any], config: Any) -> np.ndarray:
    rope: Rope = rope_of_config(Fields({"rope_parameters": parameters}, ""), config.head_dim, config.max_positions)
    return rope.frequencies

"""A config.json said in GGUF's metadata: the reverse of every architecture's `Config.from_gguf`.

Sources: ggml-org/ggml docs/gguf.md, and the keys that llama.cpp's src/models and conversion write and read.
"""

import sys
from collections.abc import Mapping
from typing import Any

from divebell.errors import Unsupported

_LITE_LAYERS = (26, 27)  # llama.cpp takes deepseek2 without a query rank for V2-Lite by these counts, else asks for it


def gguf_architecture(config: Any) -> str:
    """GGUF's name for the architecture of a Config: its own, or that of the one it builds on."""
    modules = (sys.modules[kind.__module__] for kind in type(config).__mro__ if hasattr(kind, "from_gguf"))
    return next(module.GGUF[0] for module in modules if module.GGUF)


def gguf_metadata(config: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """config: an architecture's Config; values: the config.json it was read from, for how RoPE is scaled."""
    own = _latent_attention(config) if hasattr(config, "latent") else _grouped_attention(config)
    fields = {
        "block_count": config.layers,
        "context_length": config.max_positions,
        "embedding_length": config.hidden,
        "feed_forward_length": config.width,
        "vocab_size": config.vocab_size,
        "attention.layer_norm_rms_epsilon": float(config.eps),
        **own,
        **_rope(values),
    }
    prefix = gguf_architecture(config)
    return {f"{prefix}.{key}": value for key, value in fields.items()}


def has_llama3_rope(values: Mapping[str, Any]) -> bool:
    """Llama 3's scaling has no metadata: GGUF files hold its factors as the tensor rope_freqs.weight."""
    return _scaling(values)[0] == "llama3"


def _grouped_attention(config: Any) -> dict[str, Any]:
    windows = {window for window in config.windows if window}
    fields = {
        "attention.head_count": config.heads,
        "attention.head_count_kv": config.groups,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "rope.dimension_count": config.head_dim,
    }
    return fields | ({"attention.sliding_window": windows.pop()} if windows else {})


def _latent_attention(config: Any) -> dict[str, Any]:
    latent = config.latent
    fields = {
        "attention.head_count": latent.heads,
        "attention.head_count_kv": 1,
        "attention.kv_lora_rank": latent.rank,
        "attention.key_length": latent.rank + latent.rope,
        "attention.value_length": latent.rank,
        "attention.key_length_mla": latent.nope + latent.rope,
        "attention.value_length_mla": latent.v,
        "rope.dimension_count": latent.rope,
        "leading_dense_block_count": config.dense_layers if config.experts else config.layers,
    }
    if latent.q_rank or config.layers not in _LITE_LAYERS:
        fields["attention.q_lora_rank"] = latent.q_rank or 0
    return fields | (_experts(config.experts) if config.experts else {})


def _experts(experts: Any) -> dict[str, Any]:
    router = experts.router
    return {
        "expert_count": experts.count,
        "expert_used_count": router.top_k,
        "expert_feed_forward_length": experts.width,
        "expert_shared_count": experts.shared,
        "expert_gating_func": {"softmax": 1, "sigmoid": 2}[router.score],
        "expert_weights_norm": router.renormalise,
        "expert_weights_scale": float(router.scale),
        "expert_group_count": router.groups,
        "expert_group_used_count": router.kept_groups,
    }


def _rope(values: Mapping[str, Any]) -> dict[str, Any]:
    kind, scaling = _scaling(values)
    fields = {"rope.freq_base": float(scaling.get("rope_theta") or values.get("rope_theta") or 10000)}
    if kind in ("default", "llama3"):
        return fields
    fields |= {"rope.scaling.type": kind, "rope.scaling.factor": float(scaling["factor"])}
    if kind == "linear":
        return fields
    if kind != "yarn":
        raise Unsupported("rope_scaling", kind, ("default", "linear", "llama3", "yarn"))
    original = scaling.get("original_max_position_embeddings") or values["max_position_embeddings"]
    fields["rope.scaling.original_context_length"] = int(original)
    for key in ("beta_fast", "beta_slow"):
        if scaling.get(key) is not None:
            fields[f"rope.scaling.yarn_{key}"] = float(scaling[key])
    if scaling.get("mscale_all_dim"):
        fields["rope.scaling.yarn_log_multiplier"] = 0.1 * float(scaling["mscale_all_dim"])
    return fields


def _scaling(values: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    scaling = values.get("rope_parameters") or values.get("rope_scaling") or {}
    return scaling.get("rope_type") or scaling.get("type") or "default", scaling

"""Bytes of cache for each token, from a config.json's fields alone: also of architectures that can't be run yet.

Records: FlashMLA's README for latents in FP8 (512 bytes, 4 float32 scales, 64 bfloat16) and DSA's index keys (128 bytes
and a scale); DeepSeek-V4's released inference code for its 584-byte entries (448 FP8, 64 bfloat16, 7 scales, padding)
and 68-byte FP4 index keys; V4.1's report for entries of 288 bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from divebell.errors import BadInput

V4_ENTRY, V4_INDEX, V41_ENTRY, V41_WINDOW = 584, 68, 288, 528


@dataclass(frozen=True, slots=True)
class CacheBytes:
    """per_token: of all layers, for each token of context. fixed: of each sequence, however long (windows)."""

    per_token: float
    fixed: int = 0


def cache_bytes(values: Mapping[str, Any], format: str = "bf16") -> CacheBytes:
    """values: a config.json's fields. format: of latents, "bf16" or "fp8"; V4's have one format, DSA's index another.

    Raises BadInput for a format that there is none of, or fields that tell no cache.
    """
    if format not in ("bf16", "fp8"):
        raise BadInput(f"cache format is {format!r}; it must be bf16 or fp8")
    own = values.get("text_config")
    values = own if isinstance(own, Mapping) else values
    if "kv_source_layer_ids" in values:
        return _v41(values)
    if "compress_ratios" in values:
        return _v4(values)
    layers = values.get("num_hidden_layers")
    if not isinstance(layers, int):
        raise BadInput("the config has no num_hidden_layers: there is no telling its cache")
    width = _latent(values, format) if values.get("kv_lora_rank") else _groups(values)
    return CacheBytes(layers * (width + _index(values)))


def _latent(values: Mapping[str, Any], format: str) -> int:
    rank, rope = values["kv_lora_rank"], values["qk_rope_head_dim"]
    return 2 * (rank + rope) if format == "bf16" else rank + 4 * (rank // 128) + 2 * rope


def _index(values: Mapping[str, Any]) -> int:
    """Of DSA's key: bytes, and one float32 scale for each 128."""
    width = values.get("index_head_dim")
    return width + width // 128 * 4 if isinstance(width, int) else 0


def _groups(values: Mapping[str, Any]) -> int:
    heads = values.get("num_attention_heads")
    if not isinstance(heads, int):
        raise BadInput("the config has no num_attention_heads: there is no telling its cache")
    groups = values.get("num_key_value_heads") or heads
    return 2 * 2 * groups * (values.get("head_dim") or values["hidden_size"] // heads)


def _v4(values: Mapping[str, Any]) -> CacheBytes:
    """Ratio 4 has an index beside its entries (CSA), other ratios have none (HCA), and all layers a window."""
    ratios = values["compress_ratios"][: values["num_hidden_layers"]]
    entries = sum((V4_ENTRY + (V4_INDEX if ratio == 4 else 0)) / ratio for ratio in ratios if ratio)
    return CacheBytes(entries, len(ratios) * values["sliding_window"] * V4_ENTRY)


def _v41(values: Mapping[str, Any]) -> CacheBytes:
    """Only the source layers write compressed entries; the others read the nearest source's."""
    ratios = values["compress_ratios"]
    entries = sum((V41_ENTRY + V4_INDEX) / ratios[layer] for layer in values["kv_source_layer_ids"])
    return CacheBytes(entries, values["num_hidden_layers"] * values["sliding_window"] * V41_WINDOW)

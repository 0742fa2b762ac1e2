"""Bytes of cache for each token, from a config.json's fields alone: also of architectures that can't be run yet.

Records: FlashMLA's README for latents in FP8 (512 bytes, 4 float32 scales, 64 bfloat16) and DSA's index keys (128 bytes
and a scale); DeepSeek-V4's released inference code for its 584-byte entries (448 FP8, 64 bfloat16, 7 scales, padding)
and 68-byte FP4 index keys; V4.1's report for entries of 288 bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divebell.costs.sparse import indexers, ratios
from divebell.errors import BadInput, Unsupported
from divebell.models.fields import Fields

V4_ENTRY, V4_INDEX, V41_ENTRY, V41_WINDOW = 584, 68, 288, 528


@dataclass(frozen=True, slots=True)
class CacheBytes:
    """per_token: of all layers, for each token of context. fixed: of each sequence, however long (windows)."""

    per_token: float
    fixed: int = 0


def cache_bytes(values: Mapping[str, Any], format: str = "bf16", path: Path | str = "config.json") -> CacheBytes:
    """values: a config.json's fields. format: of latents, "bf16" or "fp8"; V4's have one format, DSA's index another.

    Raises BadInput for a format that there is none of, BadFile for fields that tell no cache, Unsupported for states
    that are not counted here.
    """
    if format not in ("bf16", "fp8"):
        raise BadInput(f"cache format is {format!r}; it must be bf16 or fp8")
    fields = Fields(language(values), path)
    if "linear_attn_config" in fields.values:
        raise Unsupported("attention", "linear (linear_attn_config)", path=path)
    if "kv_source_layer_ids" in fields.values:
        return _v41(fields)
    if "compress_ratios" in fields.values:
        return _v4(fields)
    width = _latent(fields, format) if fields.integer("kv_lora_rank", None) else _groups(fields)
    return CacheBytes(_blocks(fields) * width + _index(fields))


def language(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's fields of a config.json that tells other parts, such as eyes, beside it."""
    own = values.get("text_config")
    if not isinstance(own, Mapping):
        return values
    return {key: values[key] for key in ("model_type", "quantization_config") if key in values} | dict(own)


def _blocks(fields: Fields) -> int:
    """Of attention: one in a layer, but two in LongCat's."""
    if fields.values.get("model_type") == "longcat_flash":
        return 2 * fields.layers("num_layers")
    return fields.layers("num_hidden_layers")


def _latent(fields: Fields, format: str) -> int:
    rank, rope = fields.integer("kv_lora_rank"), fields.integer("qk_rope_head_dim")
    return 2 * (rank + rope) if format == "bf16" else rank + 4 * (rank // 128) + 2 * rope


def _index(fields: Fields) -> int:
    """Of DSA's keys: bytes, and one float32 scale for each 128."""
    width = fields.integer("index_head_dim", None)
    return len(indexers(fields)) * (width + width // 128 * 4) if width else 0


def _groups(fields: Fields) -> int:
    heads = fields.integer("num_attention_heads")
    head = fields.integer("head_dim", None) or fields.integer("hidden_size") // heads
    return 2 * 2 * fields.integer("num_key_value_heads", heads) * head


def _v4(fields: Fields) -> CacheBytes:
    """Ratio 4 has an index beside its entries (CSA), other ratios have none (HCA), and all layers a window."""
    listed = ratios(fields)
    entries = sum((V4_ENTRY + (V4_INDEX if ratio == 4 else 0)) / ratio for ratio in listed if ratio)
    return CacheBytes(entries, len(listed) * fields.integer("sliding_window") * V4_ENTRY)


def _v41(fields: Fields) -> CacheBytes:
    """Only the source layers write compressed entries; the others read the nearest source's."""
    listed, sources = ratios(fields), fields.items("kv_source_layer_ids") or ()
    if not sources or not all(type(s) is int and 0 <= s < len(listed) and listed[s] for s in sources):
        raise fields.bad("kv_source_layer_ids", "must be numbers of layers that compress (compress_ratios above 0)")
    entries = sum((V41_ENTRY + V4_INDEX) / listed[layer] for layer in sources)
    return CacheBytes(entries, len(listed) * fields.integer("sliding_window") * V41_WINDOW)

"""Qwen2 and Qwen2.5, and R1's distills on them: Llama with biases on q, k and v. Source: arXiv 2407.10671."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from divebell.errors import Unsupported
from divebell.models import llama
from divebell.models.fields import Fields
from divebell.models.llama import Layer, cache_layout, parameters, rope, unused

__all__ = ["GGUF", "Config", "Layer", "cache_layout", "parameters", "rope", "unused"]

GGUF = ("qwen2",)
_KINDS = ("full_attention", "sliding_attention")


class Config(llama.Config):
    __slots__ = ()

    @classmethod
    def from_hf(cls, values: Mapping[str, Any], path: Path | str = "config.json") -> Self:
        fields = Fields(values, path)
        if fields.flag("use_mrope", False):
            raise Unsupported("use_mrope", True, ("false",), path)
        return super().from_hf(values, path, windows=_windows(fields), qkv_bias=True, output_bias=False)

    @classmethod
    def from_gguf(
        cls, metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], path: Path | str = "model.gguf"
    ) -> Self:
        return super().from_gguf(metadata, shapes, path, interleaved=False)


def _windows(fields: Fields) -> tuple[int | None, ...]:
    """`layer_types` says which layers slide; in older files, those from `max_window_layers` on."""
    layers = fields.layers("num_hidden_layers")
    window = fields.integer("sliding_window", 4096) if fields.flag("use_sliding_window", False) else None
    first = fields.integer("max_window_layers", 28, least=0)
    kinds = fields.items("layer_types") or [_KINDS[i >= first] for i in range(layers)]
    if len(kinds) != layers:
        raise fields.bad("layer_types", f"has {len(kinds)} entries for {layers} layers")
    if unknown := [kind for kind in kinds if kind not in _KINDS]:
        raise Unsupported("layer_types", unknown[0], _KINDS, fields.path)
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)

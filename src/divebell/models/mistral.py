"""Mistral 7B: Llama with a sliding window over every layer (v0.1), or without one (v0.3). Source: arXiv 2310.06825.

GGUF files of it say `llama`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from divebell.models import llama
from divebell.models.fields import Fields
from divebell.models.llama import Layer, cache_layout, parameters, rope, unused

__all__ = ["GGUF", "Config", "Layer", "cache_layout", "parameters", "rope", "unused"]

GGUF = ()


class Config(llama.Config):
    __slots__ = ()

    @classmethod
    def from_hf(cls, values: Mapping[str, Any], path: Path | str = "config.json") -> Self:
        fields = Fields(values, path)
        windows = (fields.integer("sliding_window", None),) * fields.layers("num_hidden_layers")
        return super().from_hf(values, path, windows=windows)

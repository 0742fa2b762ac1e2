"""Kimi K2: DeepSeek-V3's class with other numbers. Source: arXiv 2507.20534 and its released configuration."""

from divebell.models.deepseek_v3 import GGUF, Config, Layer, cache_layout, layer_parameters, parameters, rope, unused

__all__ = ["GGUF", "Config", "Layer", "cache_layout", "layer_parameters", "parameters", "rope", "unused"]

"""DeepSeek-V3, R1, V3.1, Moonlight: V2's layers with a sigmoid router that a bias keeps in balance.

Sources: arXiv 2412.19437; README_WEIGHTS of DeepSeek's repository; transformers' `DeepseekV3ForCausalLM`. GGUF files of
them say `deepseek2`.
"""

from divebell.models import deepseek_v2, moe
from divebell.models.deepseek_v2 import Layer, cache_layout, layer_parameters, parameters, rope, unused
from divebell.models.fields import Fields
from divebell.models.moe import Experts

__all__ = ["GGUF", "Config", "Layer", "cache_layout", "layer_parameters", "parameters", "rope", "unused"]

GGUF = ()


class Config(deepseek_v2.Config):
    __slots__ = ()

    @classmethod
    def experts_of_config(cls, fields: Fields) -> Experts | None:
        return Experts.from_hf(fields, moe.sigmoid_router)

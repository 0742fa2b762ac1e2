"""DeepSeek's experts behind Llama's attention: no released model is read as one; its layers are only timed."""

from dataclasses import dataclass
from typing import Any

from divebell.models import llama, moe, parameter
from divebell.models.binding import Binding
from divebell.models.llama import cache_layout, rope, unused
from divebell.models.moe import Experts
from divebell.models.parameter import Parameter

__all__ = ["Config", "Layer", "cache_layout", "parameters", "rope", "unused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(llama.Config):
    """Every layer has experts; the other fields are those by which DeepSeek-V2's config says which have."""

    experts: Experts | None
    dense_layers: int = 0
    expert_step: int = 1

    def has_experts(self, layer: int) -> bool:
        return self.experts is not None


def parameters(config: Config) -> list[Parameter]:
    listed = [one for one in llama.parameters(config) if ".mlp." not in one.name]
    for index in range(config.layers):
        listed += moe.parameters(config.experts, config.hidden, parameter.Layer(index))
    return listed


class Layer(llama.Layer):
    def feed_forward(self, binding: Binding, own: str) -> Any:
        return moe.Moe(self.config.experts, binding, own)

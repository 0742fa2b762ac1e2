"""DeepSeek-V2, V2-Lite, V2.5: multi-head latent attention (MLA), and experts chosen by softmax beside shared ones.

Sources: arXiv 2405.04434; DeepSeek's released model code; tensor names of transformers' `DeepseekV2ForCausalLM` and of
GGUF's `deepseek2`, which also holds V3's family: its metadata and tensors tell the router.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from divebell.errors import Unsupported
from divebell.models import mla, moe, parameter
from divebell.models.binding import Binding
from divebell.models.fields import Fields
from divebell.models.llama import Mlp, gguf_vocab_size
from divebell.models.mla import Latent
from divebell.models.moe import Experts
from divebell.models.parameter import Parameter
from divebell.models.rope import Rope, RopeTable, rope_of_config, rope_of_gguf
from divebell.ops.batch import Batch

GGUF = ("deepseek2",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """width: of the dense layers: the first `dense_layers`, and those between every `expert_step`-th.

    experts: None if every layer is dense. draft_layers: layers after the last that predict further tokens (MTP); they
    are left in the file.
    """

    vocab_size: int
    hidden: int
    layers: int
    width: int
    eps: float
    max_positions: int
    tied: bool
    latent: Latent
    rope: Rope
    experts: Experts | None
    dense_layers: int = 0
    expert_step: int = 1
    draft_layers: int = 0

    @classmethod
    def from_hf(cls, values: Mapping[str, Any], path: Path | str = "config.json") -> Self:
        """From config.json. Raises BadFile, Unsupported or Mismatch naming the field."""
        fields = Fields(values, path)
        fields.choice("hidden_act", "silu", ("silu", "swish"))
        if fields.flag("mlp_bias", False):
            raise Unsupported("mlp_bias", True, ("false",), path)
        latent, positions = Latent.from_hf(fields), fields.integer("max_position_embeddings", 2048)
        return cls(
            vocab_size=fields.integer("vocab_size"),
            hidden=fields.integer("hidden_size"),
            layers=fields.layers("num_hidden_layers"),
            width=fields.integer("intermediate_size"),
            eps=fields.number("rms_norm_eps", 1e-6),
            max_positions=positions,
            tied=fields.flag("tie_word_embeddings", False),
            latent=latent,
            rope=rope_of_config(fields, latent.rope, positions),
            experts=cls.experts_of_config(fields),
            dense_layers=fields.integer("first_k_dense_replace", 0, least=0),
            expert_step=fields.integer("moe_layer_freq", 1),
            draft_layers=fields.integer("num_nextn_predict_layers", 0, least=0),
        )

    @classmethod
    def experts_of_config(cls, fields: Fields) -> Experts | None:
        return Experts.from_hf(fields, moe.softmax_router)

    @classmethod
    def from_gguf(
        cls, metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], path: Path | str = "model.gguf"
    ) -> Self:
        """From metadata, and the shapes of the tensors in the file by name: they tell what is tied, split or biased."""
        fields = Fields(metadata, path, prefix="deepseek2.")
        latent, positions = Latent.from_gguf(fields, shapes), fields.integer("context_length")
        drafts = fields.integer("nextn_predict_layers", 0, least=0)
        layers = fields.layers("block_count", least=drafts + 1) - drafts
        return cls(
            vocab_size=gguf_vocab_size(fields, shapes),
            hidden=fields.integer("embedding_length"),
            layers=layers,
            width=fields.integer("feed_forward_length"),
            eps=fields.number("attention.layer_norm_rms_epsilon"),
            max_positions=positions,
            tied="output.weight" not in shapes,
            latent=latent,
            rope=rope_of_gguf(fields, latent.rope, positions),
            experts=Experts.from_gguf(fields, shapes),
            dense_layers=fields.integer("leading_dense_block_count", 0, least=0),
            draft_layers=drafts,
        )

    def released(self) -> Self:
        """The same model as Hugging Face's files have it."""
        return replace(self, latent=replace(self.latent, split=False))

    def has_experts(self, layer: int) -> bool:
        return self.experts is not None and layer >= self.dense_layers and layer % self.expert_step == 0


def parameters(config: Config) -> list[Parameter]:
    listed = parameter.trunk(config.vocab_size, config.hidden, config.tied)
    for index in range(config.layers):
        listed += layer_parameters(config, index)
    return listed


def layer_parameters(config: Config, index: int) -> list[Parameter]:
    layer = parameter.Layer(index)
    listed = [layer.norm("attention_norm", config.hidden, "input_layernorm", "attn_norm")]
    listed += mla.parameters(config.latent, config.hidden, layer)
    listed.append(layer.norm("mlp_norm", config.hidden, "post_attention_layernorm", "ffn_norm"))
    if config.has_experts(index):
        return listed + moe.parameters(config.experts, config.hidden, layer)
    return listed + layer.feed_forward("mlp", config.hidden, config.width, "mlp.%s", "ffn_%s", "mlp")


def unused(config: Config) -> tuple[str, ...]:
    """Beginnings of names that a file may hold and this model does not read."""
    drafts = range(config.layers, config.layers + config.draft_layers)
    heads = ["lm_head."] if config.tied else []
    whole = [f"blk.{i}.attn_kv_b." for i in range(config.layers)] if config.latent.split else []
    return (*heads, *whole, *(f"model.layers.{i}." for i in drafts), *(f"blk.{i}." for i in drafts))


def cache_layout(config: Config) -> list[dict[str, int]]:
    return [{"latent": config.latent.rank + config.latent.rope}] * config.layers


def rope(config: Config, binding: Binding) -> Rope:
    return config.rope


class Layer:
    def __init__(self, config: Config, index: int, binding: Binding, rope: RopeTable):
        own = f"layers.{index}."
        self.eps, self.ops = config.eps, binding.ops
        self.attention_norm, self.mlp_norm = binding.vector(own + "attention_norm"), binding.vector(own + "mlp_norm")
        self.attend = mla.Attention(config.latent, binding, own, rope)
        self.mlp = moe.Moe(config.experts, binding, own) if config.has_experts(index) else Mlp(binding, own + "mlp")

    def __call__(self, state: np.ndarray, batch: Batch, cache: dict[str, np.ndarray]) -> np.ndarray:
        add, norm = self.ops.add, self.ops.rms_norm
        state = add(state, self.attend(norm(state, self.attention_norm, self.eps), batch, cache))
        return add(state, self.mlp(norm(state, self.mlp_norm, self.eps)))

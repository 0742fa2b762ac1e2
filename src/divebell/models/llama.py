"""Llama 2 and 3, and what shares their shape: grouped-query attention with RoPE, SwiGLU, RMSNorm.

Sources: arXiv 2302.13971, 2407.21783; tensor names of transformers' `LlamaForCausalLM` and of GGUF's `llama`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from divebell.models import parameter
from divebell.models.binding import Binding
from divebell.models.fields import Fields
from divebell.models.parameter import PARTS, Parameter
from divebell.models.rope import Rope, RopeTable, rope_of_config, rope_of_gguf
from divebell.ops.batch import Batch

GGUF = ("llama",)
QKV = {"q": "attn_q", "k": "attn_k", "v": "attn_v"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """windows: per layer, how many positions a token sees, or None for all. interleaved: RoPE pairs (2i, 2i+1)."""

    vocab_size: int
    hidden: int
    layers: int
    heads: int
    groups: int
    head_dim: int
    width: int
    eps: float
    max_positions: int
    tied: bool
    rope: Rope
    windows: tuple[int | None, ...]
    interleaved: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    rope_factors: bool = False

    @classmethod
    def from_hf(cls, values: Mapping[str, Any], path: Path | str = "config.json", **changes: Any) -> Self:
        """From config.json; `changes` are what a sibling architecture knows better. BadFile, Unsupported, Mismatch."""
        fields = Fields(values, path)
        fields.choice("hidden_act", "silu", ("silu", "swish"))
        shape = cls._shape_of_config(fields)
        bias = fields.flag("attention_bias", False)
        settings = {
            "eps": fields.number("rms_norm_eps", 1e-6),
            "tied": fields.flag("tie_word_embeddings", False),
            "rope": rope_of_config(fields, shape["head_dim"], shape["max_positions"]),
            "windows": (None,) * shape["layers"],
            "qkv_bias": bias,
            "output_bias": bias,
            "mlp_bias": fields.flag("mlp_bias", False),
        }
        return cls(**shape | settings | changes)

    @staticmethod
    def _shape_of_config(fields: Fields) -> dict[str, int]:
        hidden, heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
        shape = {
            "vocab_size": fields.integer("vocab_size"),
            "hidden": hidden,
            "layers": fields.layers("num_hidden_layers"),
            "heads": heads,
            "groups": fields.integer("num_key_value_heads", heads),
            "head_dim": fields.integer("head_dim", None) or _head_dim(fields, hidden, heads),
            "width": fields.integer("intermediate_size"),
            "max_positions": fields.integer("max_position_embeddings", 2048),
        }
        check_heads(fields, shape)
        return shape

    @classmethod
    def from_gguf(
        cls,
        metadata: Mapping[str, Any],
        shapes: Mapping[str, tuple[int, ...]],
        path: Path | str = "model.gguf",
        **changes: Any,
    ) -> Self:
        """From metadata, and the shapes of the tensors in the file by name: they tell what is tied or has biases."""
        fields = Fields(metadata, path, prefix=str(metadata.get("general.architecture")) + ".")
        shape = cls._shape_of_gguf(fields, shapes)
        settings = {
            "eps": fields.number("attention.layer_norm_rms_epsilon"),
            "tied": "output.weight" not in shapes,
            "rope": rope_of_gguf(fields, shape["head_dim"], shape["max_positions"]),
            "windows": (fields.integer("attention.sliding_window", None, least=0) or None,) * shape["layers"],
            "interleaved": True,  # the converter permutes rows of q and k so that pairs lie side by side
            "qkv_bias": "blk.0.attn_q.bias" in shapes,
            "output_bias": "blk.0.attn_output.bias" in shapes,
            "rope_factors": "rope_freqs.weight" in shapes,
        }
        return cls(**shape | settings | changes)

    @staticmethod
    def _shape_of_gguf(fields: Fields, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        if fields.integer("expert_count", 0, least=0):
            raise fields.contradiction("experts in a GGUF of architecture 'llama' (Mixtral) are not supported")
        hidden, heads = fields.integer("embedding_length"), fields.integer("attention.head_count")
        shape = {
            "vocab_size": gguf_vocab_size(fields, shapes),
            "hidden": hidden,
            "layers": fields.layers("block_count"),
            "heads": heads,
            "groups": fields.integer("attention.head_count_kv", heads),
            "head_dim": fields.integer("attention.key_length", None) or _head_dim(fields, hidden, heads),
            "width": fields.integer("feed_forward_length"),
            "max_positions": fields.integer("context_length"),
        }
        check_heads(fields, shape)
        rotated = fields.integer("rope.dimension_count", shape["head_dim"])
        if rotated != shape["head_dim"]:
            raise fields.bad(
                "rope.dimension_count", f"is {rotated}; only the whole head, {shape['head_dim']}, is supported"
            )
        return shape

    def released(self) -> Self:
        """The same model as Hugging Face's files have it."""
        return replace(self, interleaved=False, rope_factors=False)


def parameters(config: Config) -> list[Parameter]:
    listed = parameter.trunk(config.vocab_size, config.hidden, config.tied)
    if config.rope_factors:
        listed.append(Parameter("rope_factors", (config.head_dim // 2,), None, "rope_freqs.weight", "attention"))
    for index in range(config.layers):
        listed += _attention_parameters(config, parameter.Layer(index))
        listed += _mlp_parameters(config, parameter.Layer(index))
    return listed


def _attention_parameters(config: Config, layer: parameter.Layer) -> list[Parameter]:
    heads = {"q": config.heads, "k": config.groups, "v": config.groups}
    rows = {name: count * config.head_dim for name, count in heads.items()}
    listed = [layer.norm("attention_norm", config.hidden, "input_layernorm", "attn_norm")]
    for name, gguf in QKV.items():
        paired = heads[name] if config.interleaved and name != "v" else 0
        matrix = layer.matrix(name, (rows[name], config.hidden), f"self_attn.{name}_proj", gguf, "attention")
        listed.append(replace(matrix, paired=paired))
        if config.qkv_bias:
            bias = layer.bias(f"{name}_bias", rows[name], f"self_attn.{name}_proj", gguf)
            listed.append(replace(bias, paired=paired))
    listed.append(layer.matrix("o", (config.hidden, rows["q"]), "self_attn.o_proj", "attn_output", "attention"))
    if config.output_bias:
        listed.append(layer.bias("o_bias", config.hidden, "self_attn.o_proj", "attn_output"))
    return listed


def _mlp_parameters(config: Config, layer: parameter.Layer) -> list[Parameter]:
    listed = [layer.norm("mlp_norm", config.hidden, "post_attention_layernorm", "ffn_norm")]
    listed += layer.feed_forward("mlp", config.hidden, config.width, "mlp.%s", "ffn_%s", "mlp")
    if config.mlp_bias:
        widths = {"gate": config.width, "up": config.width, "down": config.hidden}
        listed += [layer.bias(f"mlp.{n}_bias", w, f"mlp.{n}_proj", f"ffn_{n}") for n, w in widths.items()]
    return listed


def unused(config: Config) -> tuple[str, ...]:
    """Beginnings of names that a file may hold and this model does not read."""
    return ("lm_head.",) if config.tied else ()


def cache_layout(config: Config) -> list[dict[str, int]]:
    width = config.groups * config.head_dim
    return [{"k": width, "v": width}] * config.layers


def rope(config: Config, binding: Binding) -> Rope:
    factors = binding.numbers("rope_factors")
    return config.rope if factors is None else config.rope.divided_by(factors)


class Layer:
    def __init__(self, config: Config, index: int, binding: Binding, rope: RopeTable):
        own = f"layers.{index}."
        self.config, self.ops, self.rope = config, binding.ops, rope
        self.window, self.scale = config.windows[index], config.head_dim**-0.5 * config.rope.score_scale
        self.attention_norm, self.mlp_norm = binding.vector(own + "attention_norm"), binding.vector(own + "mlp_norm")
        self.qkv = [binding.matrix(own + name) for name in QKV]
        self.qkv_bias = [binding.vector(f"{own}{name}_bias") for name in QKV] if config.qkv_bias else None
        self.o = [binding.matrix(own + "o")]
        self.o_bias = [binding.vector(own + "o_bias")] if config.output_bias else None
        self.mlp = self.feed_forward(binding, own)

    def feed_forward(self, binding: Binding, own: str) -> "Mlp | BiasedMlp":
        """What follows attention; own: how its names begin."""
        return (BiasedMlp if self.config.mlp_bias else Mlp)(binding, own + "mlp")

    def __call__(self, state: np.ndarray, batch: Batch, cache: dict[str, np.ndarray]) -> np.ndarray:
        add, norm = self.ops.add, self.ops.rms_norm
        state = add(state, self.attend(norm(state, self.attention_norm, self.config.eps), batch, cache))
        return add(state, self.mlp(norm(state, self.mlp_norm, self.config.eps)))

    def attend(self, x: np.ndarray, batch: Batch, cache: dict[str, np.ndarray]) -> np.ndarray:
        q, k, v = (y.reshape(len(x), -1, self.config.head_dim) for y in self.ops.linears(x, self.qkv, self.qkv_bias))
        q, k = (self.ops.rotate(y, batch.positions, self.rope.rows, self.config.interleaved) for y in (q, k))
        mixed = self.ops.attention(q, k, v, (cache["k"], cache["v"]), batch, self.scale, self.window)
        return self.ops.linears(mixed, self.o, self.o_bias)[0]


class Mlp:
    """down(silu(gate x) * (up x))"""

    def __init__(self, binding: Binding, own: str):
        self.ops = binding.ops
        self.weights = [binding.matrix(f"{own}.{part}") for part in PARTS]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.ops.swiglu(x, *self.weights)


class BiasedMlp:
    """The same with a bias after each matrix."""

    def __init__(self, binding: Binding, own: str):
        self.ops = binding.ops
        self.weights = [binding.matrix(f"{own}.{part}") for part in PARTS]
        self.biases = [binding.vector(f"{own}.{part}_bias") for part in PARTS]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        gate, up = self.ops.linears(x, self.weights[:2], self.biases[:2])
        return self.ops.linears(self.ops.gated(gate, up), self.weights[2:], self.biases[2:])[0]


def check_heads(fields: Fields, shape: dict[str, int]) -> None:
    """Mismatch unless the heads divide into groups and each head into pairs."""
    if shape["heads"] % shape["groups"]:
        raise fields.contradiction(
            f"{shape['heads']} attention heads can't share {shape['groups']} key-value heads evenly"
        )
    if shape["head_dim"] % 2:
        raise fields.contradiction(f"a head has {shape['head_dim']} numbers; RoPE turns pairs, so it must be even")


def gguf_vocab_size(fields: Fields, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """What the metadata says, or else the rows of the embedding."""
    stored = shapes.get("token_embd.weight", (None,))[0]
    return fields.integer("vocab_size", None) or stored or fields.integer("vocab_size")


def _head_dim(fields: Fields, hidden: int, heads: int) -> int:
    if hidden % heads:
        raise fields.contradiction(f"hidden size {hidden} is not a multiple of {heads} attention heads")
    return hidden // heads

"""Multi-head latent attention: every head's keys and values come from one short latent, the only thing that is cached.

Source: DeepSeek-V2 (arXiv 2405.04434) section 2.1; names of transformers and GGUF.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from divebell.models import parameter
from divebell.models.binding import Binding
from divebell.models.fields import Fields
from divebell.models.parameter import Parameter
from divebell.models.rope import RopeTable
from divebell.ops.batch import Batch

EPS = 1e-6  # of the latents' norms in DeepSeek's code, whatever rms_norm_eps says of the other norms


@dataclass(frozen=True, slots=True, kw_only=True)
class Latent:
    """Widths per head: nope + rope of a query, nope of a key (beside one shared `rope`), v of a value.

    q_rank: width of the queries' own latent, or None. split: kv_b is stored as k_b and v_b.
    """

    heads: int
    rank: int
    q_rank: int | None
    nope: int
    rope: int
    v: int
    bias: bool = False
    interleaved: bool = True
    split: bool = False

    @classmethod
    def from_hf(cls, fields: Fields) -> Self:
        heads = fields.integer("num_attention_heads")
        groups = fields.integer("num_key_value_heads", heads)
        if groups != heads:
            raise fields.contradiction(
                f"MLA has one key per head, but num_key_value_heads is {groups} for {heads} heads"
            )
        latent = cls(
            heads=heads,
            rank=fields.integer("kv_lora_rank"),
            q_rank=fields.integer("q_lora_rank", None),
            nope=fields.integer("qk_nope_head_dim"),
            rope=fields.integer("qk_rope_head_dim"),
            v=fields.integer("v_head_dim"),
            bias=fields.flag("attention_bias", False),
            interleaved=fields.flag("rope_interleave", True),
        )
        return latent._checked(fields, "qk_rope_head_dim")

    @classmethod
    def from_gguf(cls, fields: Fields, shapes: Mapping[str, tuple[int, ...]]) -> Self:
        """Since k_b and v_b are stored apart, key_length and value_length are the latent's widths, *_mla the heads'."""
        rope = fields.integer("rope.dimension_count")
        key = fields.integer("attention.key_length_mla", None) or fields.integer("attention.key_length")
        value = fields.integer("attention.value_length_mla", None) or fields.integer("attention.value_length")
        if key <= rope:
            raise fields.contradiction(f"heads of {key} numbers leave none beside the {rope} that RoPE turns")
        latent = cls(
            heads=fields.integer("attention.head_count"),
            rank=fields.integer("attention.kv_lora_rank"),
            q_rank=fields.integer("attention.q_lora_rank", 0, least=0) or None,
            nope=key - rope,
            rope=rope,
            v=value,
            split="blk.0.attn_k_b.weight" in shapes,
        )
        return latent._checked(fields, "rope.dimension_count")

    def _checked(self, fields: Fields, rope_field: str) -> Self:
        if self.rope % 2:
            raise fields.bad(rope_field, f"is {self.rope}; RoPE turns pairs, so it must be even")
        return self


def parameters(latent: Latent, hidden: int, layer: parameter.Layer) -> list[Parameter]:
    heads, rank, nope, v, cached = latent.heads, latent.rank, latent.nope, latent.v, latent.rank + latent.rope
    listed = _query_parameters(latent, hidden, layer)
    listed.append(layer.matrix("kv_a", (cached, hidden), "self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa", "attention"))
    listed.append(layer.norm("kv_norm", rank, "self_attn.kv_a_layernorm", "attn_kv_a_norm"))
    if latent.split:
        listed.append(layer.matrix("k_b", (heads, rank, nope), None, "attn_k_b", "attention"))
        listed.append(layer.matrix("v_b", (heads, v, rank), None, "attn_v_b", "attention"))
    else:
        shape = (heads * (nope + v), rank)
        listed.append(layer.matrix("kv_b", shape, "self_attn.kv_b_proj", "attn_kv_b", "attention"))
    listed.append(layer.matrix("o", (hidden, heads * v), "self_attn.o_proj", "attn_output", "attention"))
    if latent.bias:
        listed.append(layer.bias("kv_a_bias", cached, "self_attn.kv_a_proj_with_mqa", None))
        listed.append(layer.bias("o_bias", hidden, "self_attn.o_proj", None))
    return listed


def _query_parameters(latent: Latent, hidden: int, layer: parameter.Layer) -> list[Parameter]:
    rows = latent.heads * (latent.nope + latent.rope)
    if latent.q_rank is None:
        return [layer.matrix("q", (rows, hidden), "self_attn.q_proj", "attn_q", "attention")]
    listed = [
        layer.matrix("q_a", (latent.q_rank, hidden), "self_attn.q_a_proj", "attn_q_a", "attention"),
        layer.norm("q_norm", latent.q_rank, "self_attn.q_a_layernorm", "attn_q_a_norm"),
        layer.matrix("q_b", (rows, latent.q_rank), "self_attn.q_b_proj", "attn_q_b", "attention"),
    ]
    if latent.bias:
        listed.append(layer.bias("q_a_bias", latent.q_rank, "self_attn.q_a_proj", None))
    return listed


class Attention:
    def __init__(self, latent: Latent, binding: Binding, own: str, rope: RopeTable):
        self.latent, self.ops, self.rope = latent, binding.ops, rope
        self.scale = (latent.nope + latent.rope) ** -0.5 * rope.rope.score_scale
        q = "q" if latent.q_rank is None else "q_a"
        self.down = [binding.matrix(own + q), binding.matrix(own + "kv_a")]
        self.down_bias = [binding.vector(f"{own}{q}_bias"), binding.vector(own + "kv_a_bias")]
        self.q_norm, self.kv_norm = binding.vector(own + "q_norm"), binding.vector(own + "kv_norm")
        self.q_b = None if latent.q_rank is None else [binding.matrix(own + "q_b")]
        self.up = binding.up_projections(own)
        self.o, self.o_bias = [binding.matrix(own + "o")], [binding.vector(own + "o_bias")]

    def __call__(self, x: np.ndarray, batch: Batch, cache: dict[str, np.ndarray]) -> np.ndarray:
        q, kv = self.ops.linears(x, self.down, self.down_bias)
        if self.q_b is not None:
            q = self.ops.linears(self.ops.rms_norm(q, self.q_norm, EPS), self.q_b)[0]
        q = self._rotate(q.reshape(len(x), self.latent.heads, -1), batch)
        latent = self._rotate(self.ops.rms_norm(kv, self.kv_norm, EPS)[:, None], batch)[:, 0]
        mixed = self.ops.mla(q, latent, cache["latent"], self.up, batch, self.scale)
        return self.ops.linears(mixed, self.o, self.o_bias)[0]

    def _rotate(self, x: np.ndarray, batch: Batch) -> np.ndarray:
        return self.ops.rotate(x, batch.positions, self.rope.rows, self.latent.interleaved)

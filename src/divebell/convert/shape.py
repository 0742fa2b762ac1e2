"""How wide latent and rotated keys are to be, and the deepseek_v3 configuration that says so."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from divebell.config import plural
from divebell.convert.grouped import Source
from divebell.errors import BadInput

STEP = 16  # widths are multiples of it, as the kernels like them
_QUERY_STEP = 32  # so that rows can be quantized


@dataclass(frozen=True, slots=True)
class Shape:
    """counts: int (frequencies,), how many components of each keep RoPE. rank: of the latent, its constant included."""

    counts: np.ndarray
    rank: int

    @property
    def pairs(self) -> int:
        return int(self.counts.sum())


def full(source: Source) -> Shape:
    """Where nothing is lost: all keys keep RoPE, the latent holds all values."""
    config = source.config
    counts = np.full(config.head_dim // 2, config.groups)
    return Shape(counts, _up(config.groups * config.head_dim + 1, STEP))


def width_of(source: Source, share: float) -> int:
    """Numbers of a token and layer for a share of the original's cache. BadInput for no share, or too little."""
    whole = 2 * source.config.groups * source.config.head_dim
    width = int(share * whole) // STEP * STEP if 0 < share < 1 else 0
    if width < 2 * STEP:
        raise BadInput(
            f"cache is {share:g} of {plural(whole, 'number')} a token and layer; it must leave at least {2 * STEP}, "
            "and be below 1: leave it out for an exact model"
        )
    return width


def ranks(width: int, source: Source) -> dict[int, int]:
    """By the pairs that keep RoPE, the ranks that are left."""
    most = min(width - STEP, source.config.groups * source.config.head_dim)
    return {rope // 2: width - rope for rope in range(STEP, most + 1, STEP)}


def still_width(shape: Shape, groups: int) -> int:
    """Numbers of a head's key without RoPE; at least one pair."""
    return 2 * max(1, int((shape.counts < groups).sum()))


def query_rank(source: Source) -> int | None:
    """Of the queries' own latent, which is needed where they have biases."""
    config = source.config
    return _up(config.heads * config.head_dim + 1, _QUERY_STEP) if config.qkv_bias else None


def configuration(source: Source, shape: Shape) -> dict[str, Any]:
    """A config.json of model_type deepseek_v3."""
    config = source.config
    return {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden,
        "intermediate_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.heads,
        "q_lora_rank": query_rank(source),
        "kv_lora_rank": shape.rank,
        "qk_nope_head_dim": still_width(shape, config.groups),
        "qk_rope_head_dim": 2 * shape.pairs,
        "v_head_dim": config.head_dim,
        "attention_bias": True,
        "rope_interleave": True,
        "rope_parameters": _rope(source, shape),
        "hidden_act": "silu",
        "rms_norm_eps": config.eps,
        "max_position_embeddings": config.max_positions,
        "tie_word_embeddings": config.tied,
        "first_k_dense_replace": config.layers,
        "num_nextn_predict_layers": 0,
        "torch_dtype": "float32",
    }


def _rope(source: Source, shape: Shape) -> dict[str, Any]:
    """Frequencies that no rule gives, one by one, as LongRoPE's factors have them: of a base of 1."""
    frequencies = np.repeat(source.rope.frequencies, shape.counts)
    factors = [float(factor) for factor in np.float32(1) / frequencies]
    return {
        "rope_type": "longrope",
        "rope_theta": 1.0,
        "factor": 1.0,
        "attention_factor": 1.0,
        "original_max_position_embeddings": source.config.max_positions,
        "short_factor": factors,
        "long_factor": factors,
    }


def _up(number: int, step: int) -> int:
    return -(-number // step) * step

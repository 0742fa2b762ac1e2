"""Models with sparse attention as planned by formula: DeepSeek-V3.2, GLM-5 and 5.2 (DSA), DeepSeek-V4 (CSA and HCA).

Sources: DeepSeek-V3.2-Exp's report and inference code; DeepSeek-V4's (arXiv 2606.19348) and its released code.
"""

from dataclasses import dataclass

from divebell.models.fields import Fields
from divebell.models.parameter import Layer, Parameter, trunk


@dataclass(frozen=True, slots=True)
class V4:
    """What of a V4's config.json its parameters depend on."""

    hidden: int
    layers: int
    heads: int
    head: int
    q_rank: int
    o_rank: int
    o_groups: int
    index_heads: int
    index_head: int
    experts: int
    width: int
    shared: int
    vocabulary: int
    streams: int
    ratios: tuple[int, ...]

    @classmethod
    def of(cls, fields: Fields) -> "V4":
        layers = fields.layers("num_hidden_layers")
        named = {name: fields.integer(key) for name, key in _V4_FIELDS.items()}
        return cls(layers=layers, ratios=ratios(fields), **named)


def ratios(fields: Fields) -> tuple[int, ...]:
    """How many tokens make a compressed entry in each of V4's layers, 0 for none. BadFile where one is missing."""
    layers, listed = fields.layers("num_hidden_layers"), fields.items("compress_ratios") or ()
    if not all(type(ratio) is int and 0 <= ratio < 2**31 for ratio in listed):
        raise fields.bad("compress_ratios", "must be a list of integers, one for each layer")
    if len(listed) < layers:
        raise fields.bad("compress_ratios", f"has {len(listed)} entries; each of the {layers} layers needs one")
    return tuple(listed[:layers])


def indexers(fields: Fields) -> list[int]:
    """Layers that have a DSA indexer of their own; GLM-5.2's "shared" ones attend to what the last such layer chose."""
    layers, types = fields.layers("num_hidden_layers"), fields.items("indexer_types")
    if types is None:
        return list(range(layers))
    if len(types) < layers or any(kind not in ("full", "shared") for kind in types):
        raise fields.bad("indexer_types", f'must be "full" or "shared" for each of the {layers} layers')
    return [layer for layer in range(layers) if types[layer] == "full"]


_V4_FIELDS = {
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "head": "head_dim",
    "q_rank": "q_lora_rank",
    "o_rank": "o_lora_rank",
    "o_groups": "o_groups",
    "index_heads": "index_n_heads",
    "index_head": "index_head_dim",
    "experts": "n_routed_experts",
    "width": "moe_intermediate_size",
    "shared": "n_shared_experts",
    "vocabulary": "vocab_size",
    "streams": "hc_mult",
}


def v4_parameters(v4: V4) -> list[Parameter]:
    """All matrices of the trunk; norms, sinks and biases, a few hundred thousand numbers, are left out."""
    listed = trunk(v4.vocabulary, v4.hidden, tied=False)
    for index, ratio in enumerate(v4.ratios):
        layer = Layer(index)
        listed += [_matrix(layer, name, shape, kind) for name, (shape, kind) in _v4_layer(v4, ratio).items()]
    return listed


def _v4_layer(v4: V4, ratio: int) -> dict[str, tuple[tuple[int, ...], str]]:
    out = v4.o_groups * v4.o_rank
    attention = {
        "wq_a": (v4.q_rank, v4.hidden),
        "wq_b": (v4.heads * v4.head, v4.q_rank),
        "wkv": (v4.head, v4.hidden),
        "wo_a": (out, v4.heads * v4.head // v4.o_groups),
        "wo_b": (v4.hidden, out),
    }
    shapes = {name: (shape, "attention") for name, shape in attention.items()}
    shapes |= {name: (shape, "router") for name, shape in _compressors(v4, ratio).items()}
    shapes["hc"] = ((2 * (2 + v4.streams) * v4.streams, v4.streams * v4.hidden), "bias")
    shapes["gate"] = ((v4.experts, v4.hidden), "router")
    for part, shape in {"w1": (v4.width, v4.hidden), "w2": (v4.hidden, v4.width), "w3": (v4.width, v4.hidden)}.items():
        shapes[f"experts.{part}"] = ((v4.experts, *shape), "experts")
        shapes[f"shared.{part}"] = ((v4.shared * shape[0], shape[1]), "shared_experts")
    return shapes


def _compressors(v4: V4, ratio: int) -> dict[str, tuple[int, ...]]:
    """Two matrices each; blocks of 4 overlap, so theirs are twice as wide, and have an indexer."""
    if not ratio:
        return {}
    if ratio != 4:
        return {"compressor": (2 * v4.head, v4.hidden)}
    return {
        "compressor": (4 * v4.head, v4.hidden),
        "indexer.compressor": (4 * v4.index_head, v4.hidden),
        "indexer.weights": (v4.index_heads, v4.hidden),
        "indexer.wq_b": (v4.index_heads * v4.index_head, v4.q_rank),
    }


def dsa_parameters(fields: Fields) -> list[Parameter]:
    """What DSA's indexers add to a DeepSeek-V3: queries from their latent, one key, a weight for each head."""
    heads, head, hidden = map(fields.integer, ("index_n_heads", "index_head_dim", "hidden_size"))
    shapes = {"wq_b": (heads * head, fields.integer("q_lora_rank")), "wk": (head, hidden), "weights": (heads, hidden)}
    layers = map(Layer, indexers(fields))
    return [_matrix(layer, f"indexer.{n}", s, "attention") for layer in layers for n, s in shapes.items()]


def _matrix(layer: Layer, name: str, shape: tuple[int, ...], kind: str) -> Parameter:
    return layer.matrix(name, shape, None, name, kind)


def v4_flops_per_token(v4: V4, topk: int, window: int, context: int) -> float:
    """Of attention and indexers for one decoded token: 4 for each number of a head and key, 2 for an index score."""
    per_key, score = 4 * v4.heads * v4.head, 2 * v4.index_heads * v4.index_head
    total = 0.0
    for ratio in v4.ratios:
        entries = context // ratio if ratio else 0
        chosen = min(topk, entries) if ratio == 4 else entries
        total += per_key * (min(window, context) + chosen) + (score * entries if ratio == 4 else 0)
    return total

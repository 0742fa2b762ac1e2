"""A model as the planner sees it: matrices by kind, what attention and cache take, from a config.json or a file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from divebell.costs import sparse
from divebell.costs.kv import CacheBytes, cache_bytes, language
from divebell.errors import BadInput, DivebellError, Unsupported
from divebell.models.fields import Fields
from divebell.models.parameter import Parameter
from divebell.weights.formats import BF16, BY_NAME, F8_E4M3, F32, MXFP4, Q4_0, Format
from divebell.weights.mixture import FILE_TYPES, Mixture

OWN = {"q4": "D4", "q8": "D8"}
DSA, LIKE_V3, LIKE_V4 = ("deepseek_v32", "glm_moe_dsa"), ("glm4_moe_lite", "mistral4"), ("deepseek_v4", "deepseek_ref")
BY_FORMULA = (*DSA, *LIKE_V3, *LIKE_V4)
OWN_NAMES = "These names are of DeepSeek's inference code: give the config.json that lies beside the model's weights"
_SMALL = ("norm", "bias", "router")


@dataclass(frozen=True, slots=True)
class Matrix:
    """count: numbers of all of it, or of one expert of a stack of `experts`, of which a token passes `chosen`."""

    kind: str
    count: int
    format: Format
    experts: int = 0
    chosen: int = 0

    @property
    def nbytes(self) -> float:
        return self.count * self.format.bits / 8


@dataclass(frozen=True, slots=True)
class Shape:
    """cache: bytes. heads: of queries. absorbed, expanded: multiply-adds of a query with a key, over all its heads, one
    token at a time and in a prompt. seen: keys that a query attends to in all layers, and multiply-adds of choosing
    them, at a context. source: module, config and formats of an architecture that can be run; None for the others.
    """

    name: str
    architecture: str
    layers: int
    hidden: int
    longest: int
    matrices: tuple[Matrix, ...]
    cache: CacheBytes
    absorbed: int
    expanded: int
    seen: Callable[[int], tuple[float, float]]
    source: tuple[Any, Any, Callable[[Parameter], Format]] | None = None

    @property
    def parameters(self) -> int:
        return sum(matrix.count * max(matrix.experts, 1) for matrix in self.matrices)

    @property
    def active(self) -> int:
        """Numbers that one token is multiplied with."""
        read = [matrix for matrix in self.matrices if matrix.kind != "embedding"]
        return sum(matrix.count * (matrix.chosen if matrix.experts else 1) for matrix in read)

    @property
    def weight_bytes(self) -> float:
        return sum(matrix.nbytes * max(matrix.experts, 1) for matrix in self.matrices)


def shape_of_config(path: Path, format: str | None = None) -> Shape:
    """Of a config.json, in a format; None: as it is released. Raises a DivebellError naming the field or format."""
    from divebell.weights.strict_json import read_object

    values = {key: value for key, value in read_object(path, "config").items() if not key.startswith("_")}
    try:
        return shape_of(values, format, path)
    except KeyError as missing:
        told = f"{path}: {missing.args[0]} is missing; without it the model can't be planned"
        raise BadInput(f"{told}. {OWN_NAMES}" if "dim" in values and "n_layers" in values else told) from None


def shape_of(values: Mapping[str, Any], format: str | None = None, path: Path | str = "config.json") -> Shape:
    """values: a config.json's fields. Of one with eyes or ears, the language model. Raises Unplanned, BadFile."""
    text = language(values)
    name = str(text["model_type"])
    if name in LIKE_V4:
        return _v4(text, format, path)
    if name in DSA:
        return _dsa(text, format, path)
    from divebell.models import architecture

    try:
        module = architecture("deepseek_v3" if name in LIKE_V3 else name, path)
    except Unsupported as error:
        raise Unplanned(values, (*error.known, *BY_FORMULA), path) from None
    config = module.Config.from_hf(_with_width(text) if name in LIKE_V3 else text, path)
    if format is not None and hasattr(config, "latent"):
        config = replace(config, latent=replace(config.latent, split=True))  # as GGUF files hold it
    choose = chooser(text, format, config)
    shape = shape_of_parts(name, module, config, choose, cache_bytes(text, path=path), str(path))
    return replace(shape, source=None) if name in LIKE_V3 else shape


def _with_width(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where no layer is dense, a config need not tell how wide such would be."""
    dense = values.get("first_k_dense_replace", 0)
    return values if dense else {"intermediate_size": values.get("moe_intermediate_size")} | dict(values)


class Unplanned(Unsupported):
    """An architecture whose weights can't be counted; what its cache takes is told, where that is known."""

    def __init__(self, values: Mapping[str, Any], known: tuple[str, ...], path: Path | str):
        super().__init__("architecture", values["model_type"], known, path)
        try:
            cache = cache_bytes(values, path=path)
        except DivebellError:
            return
        fixed = f" and {cache.fixed:,} for each sequence" if cache.fixed else ""
        told = f"its cache alone is known: {cache.per_token:,.0f} bytes for each token of context{fixed}"
        self.args = (f"{self}; {told}",)


def shape_of_checkpoint(checkpoint: Any) -> Shape:
    """Of a file, in the formats that its tensors have."""
    from divebell.models import architecture, cache_format, configuration

    module, config = architecture(checkpoint.architecture, checkpoint.path), configuration(checkpoint)

    def stored(parameter: Parameter) -> Format:
        names = parameter.stored_names(checkpoint.kind)
        return checkpoint.tensors[names[0]].format if names and names[0] in checkpoint.tensors else F32

    layout = module.cache_layout(config)
    cache = CacheBytes(cache_format.bytes_per_token("bf16", layout))
    return shape_of_parts(checkpoint.architecture, module, config, stored, cache, str(checkpoint.path))


def shape_of_parts(
    architecture: str,
    module: Any,
    config: Any,
    choose: Callable[[Parameter], Format],
    cache: CacheBytes,
    name: str,
    more: Sequence[Parameter] = (),
) -> Shape:
    """module, config: of an architecture. choose: the format of a parameter. more: parameters beyond the module's."""
    experts = getattr(config, "experts", None)
    chosen = experts.router.top_k if experts else 0
    latent = getattr(config, "latent", None)
    if latent:
        absorbed = latent.heads * (2 * latent.rank + latent.rope)
        expanded = latent.heads * (latent.nope + latent.rope + latent.v)
    else:
        absorbed = expanded = config.heads * 2 * config.head_dim
    matrices = [_matrix(parameter, choose(parameter), chosen) for parameter in (*module.parameters(config), *more)]
    if config.tied:
        matrices.append(Matrix("head", matrices[0].count, matrices[0].format))
        matrices[0] = Matrix("embedding", 0, matrices[0].format)
    windows = getattr(config, "windows", (None,) * config.layers)
    return Shape(
        name=name,
        architecture=architecture,
        layers=config.layers,
        hidden=config.hidden,
        longest=config.max_positions,
        matrices=tuple(matrices),
        cache=cache,
        absorbed=absorbed,
        expanded=expanded,
        seen=lambda context: (sum(min(window or context, context) for window in windows), 0.0),
        source=(module, config, choose),
    )


def _matrix(parameter: Parameter, format: Format, chosen: int) -> Matrix:
    if parameter.kind != "experts":
        return Matrix(parameter.kind, parameter.count, format)
    return Matrix("experts", parameter.count // parameter.shape[0], format, parameter.shape[0], chosen)


def chooser(values: Mapping[str, Any], format: str | None, config: Any) -> Callable[[Parameter], Format]:
    """Which format each parameter has: as released, uniform (ours), or as a GGUF file mixes them."""
    if format is None:
        return _released(values)
    if format in OWN:
        own = BY_NAME[OWN[format]]
        return lambda p: F32 if p.kind in _SMALL else own if p.shape[-1] % own.block == 0 else BF16
    if format.upper() not in FILE_TYPES:
        raise Unsupported("format", format, (*OWN, *(name.lower() for name in FILE_TYPES)))
    mixture = Mixture(format, config.layers, config.tied)
    return lambda p: mixture.format_of(p.gguf or p.name, p.shape)


def _released(values: Mapping[str, Any]) -> Callable[[Parameter], Format]:
    scheme = Fields(values, "config.json").section("quantization_config")
    method = scheme and scheme.text("quant_method", None)
    main = F8_E4M3 if method == "fp8" else BF16
    experts = Q4_0 if scheme and _packs_experts(scheme) else main

    def chosen(parameter: Parameter) -> Format:
        if parameter.kind in ("embedding", "head", *_SMALL):
            return BF16
        return experts if parameter.kind == "experts" else main

    return chosen


def _packs_experts(scheme: Fields) -> bool:
    """Kimi K2.5's compressed-tensors: routed experts in 4 bits with a 16-bit scale for each 32, as large as Q4_0."""
    if scheme.text("format", None) != "pack-quantized":
        return False
    groups = scheme.section("config_groups") or scheme
    first = groups.section("group_0")
    weights = first and first.section("weights")
    return bool(weights) and weights.values.get("num_bits") == 4 and weights.values.get("group_size") == 32


def _dsa(values: Mapping[str, Any], format: str | None, path: Path | str) -> Shape:
    """DeepSeek-V3's layers with indexers: a query scores all keys and attends to the best `index_topk`."""
    from divebell.models import deepseek_v3

    config, fields = deepseek_v3.Config.from_hf(values, path), Fields(values, path)
    name, more = str(values["model_type"]), sparse.dsa_parameters(fields)
    latents = "fp8" if values["model_type"] == "deepseek_v32" else "bf16"
    cache = cache_bytes(values, latents, path)
    choose = chooser(values, format, config)
    shape = shape_of_parts(name, deepseek_v3, config, choose, cache, str(path), more)
    most, indexers = fields.integer("index_topk"), len(sparse.indexers(fields))
    score = indexers * fields.integer("index_n_heads") * fields.integer("index_head_dim")

    def seen(context: int) -> tuple[float, float]:
        return config.layers * min(most, context), context * score

    return replace(shape, seen=seen, expanded=shape.absorbed, source=None)


@dataclass(frozen=True, slots=True)
class _Layers:
    layers: int
    tied: bool = False


def _v4(values: Mapping[str, Any], format: str | None, path: Path | str) -> Shape:
    fields = Fields(values, path)
    v4 = sparse.V4.of(fields)
    parameters = sparse.v4_parameters(v4)
    mixed = chooser(values, format, _Layers(v4.layers))
    fp4 = format is None and values.get("expert_dtype") == "fp4"  # of experts: FP4 with a scale byte for each 32
    topk, window, chosen = map(fields.integer, ("index_topk", "sliding_window", "num_experts_per_tok"))
    if chosen > v4.experts:
        raise fields.bad("num_experts_per_tok", f"is {chosen}, and there are {v4.experts} experts")
    per_key = 2 * v4.heads * v4.head

    def seen(context: int) -> tuple[float, float]:
        total = sparse.v4_flops_per_token(v4, topk, window, context) / 2
        scores = sum(context // 4 for ratio in v4.ratios if ratio == 4) * v4.index_heads * v4.index_head
        return (total - scores) / per_key, scores

    return Shape(
        name=str(path),
        architecture=str(values["model_type"]),
        layers=v4.layers,
        hidden=v4.hidden,
        longest=fields.integer("max_position_embeddings"),
        matrices=tuple(_matrix(p, MXFP4 if fp4 and p.kind == "experts" else mixed(p), chosen) for p in parameters),
        cache=cache_bytes(values, path=path),
        absorbed=per_key,
        expanded=per_key,
        seen=seen,
    )

"""How fast a model will be on this machine: some of its layers at their true shape, with random weights, through the
engine itself; times how many layers there are, and the head.

What a layer takes does not depend on the numbers in it. Where one has more experts than fit, fewer are made: a token
passes as many of them as before.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np

from divebell.engine.residence import bring_in
from divebell.engine.timing import Bench
from divebell.engine.traffic import Traffic
from divebell.models.binding import Binding
from divebell.models.decoder import Model
from divebell.models.parameter import Parameter
from divebell.ops import native
from divebell.weights.formats import BF16, F8_BLOCK, F8_E4M3, F32, OWN, Format
from divebell.weights.noise import F8_STD, noise
from divebell.weights.quantize import convert
from divebell.weights.tensor import Tensor

LEAST, MOST = 192 << 20, 3 << 29  # bytes of layers: more than caches hold, and no more than a machine can spare
_VOCABULARY, _PIECE, _EVICT = 256, 1 << 20, 96 << 20
Choose = Callable[[Parameter], Format]


@dataclass(frozen=True, slots=True)
class Point:
    """A speed that is wanted: kind "prompt" or "decode", as `divebell bench` has it."""

    kind: str
    tokens: int
    depth: int
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Act:
    """Some equal layers: `made` of them stand for `count`. config: of a model that has no others."""

    config: Any
    made: int
    count: int


def rehearse(module: Any, config: Any, choose: Choose, points: list[Point]) -> list[float]:
    """Seconds of each point: of a whole prompt, or of a step of `batch` tokens."""
    acts = [_act(module, part, count, choose) for part, count in _parts(config)]
    seconds = [0.0 for _ in points]
    for act in acts:
        for index, took in enumerate(_perform(module, act, choose, points)):
            seconds[index] += took * act.count / act.made
    heads = (_head(config, choose, point.batch if point.kind == "decode" else 1) for point in points)
    return [layers + head for layers, head in zip(seconds, heads, strict=True)]


def _parts(config: Any) -> list[tuple[Any, int]]:
    """Each kind of layer that there is, as a config of such layers alone, and how many of them there are."""
    small = replace(config, vocab_size=_VOCABULARY, tied=False)
    if not getattr(config, "experts", None):
        return [(small, config.layers)]
    sparse = sum(config.has_experts(layer) for layer in range(config.layers))
    kinds = [(replace(small, experts=None), config.layers - sparse), (replace(small, dense_layers=0), sparse)]
    return [(kind, count) for kind, count in kinds if count]


def _act(module: Any, config: Any, count: int, choose: Choose) -> Act:
    one = _layers(config, 1)
    while (size := _bytes(module, one, choose)) > MOST and _halved(one) is not one:
        one = _halved(one)
    made = min(count, max(1, min(-(-LEAST // size), MOST // size)))
    return Act(_layers(one, made), made, count)


def _layers(config: Any, count: int) -> Any:
    changes = {"windows": config.windows[:1] * count} if hasattr(config, "windows") else {}
    if getattr(config, "experts", None):
        changes["expert_step"] = 1
    return replace(config, layers=count, **changes)


def _halved(config: Any) -> Any:
    """With half the experts, if each group can still give as many as a token needs."""
    experts = getattr(config, "experts", None)
    if experts is None or experts.count % (2 * experts.router.groups):
        return config
    count = experts.count // 2
    if count // experts.router.groups * experts.router.kept_groups < 2 * experts.router.top_k:
        return config
    return replace(config, experts=replace(experts, count=count))


def _bytes(module: Any, config: Any, choose: Choose) -> int:
    return sum(choose(p).nbytes(p.shape) for p in module.parameters(config) if p.name.startswith("layers."))


def _perform(module: Any, act: Act, choose: Choose, points: list[Point]) -> list[float]:
    parameters = module.parameters(act.config)
    checkpoint = _checkpoint(parameters, choose)
    arranged = bring_in(checkpoint)

    def load(ops: Any) -> Model:
        binding = Binding(checkpoint, parameters, ops, "stored", module.unused(act.config), arranged)
        return Model(module, act.config, binding, "bf16")

    def traffic(model: Model) -> Traffic:
        return Traffic(checkpoint, parameters, act.config, model.cache_layout, model.cache_dtype)

    bench = Bench(load, native, traffic)
    if arranged:
        arranged.settle()
    bench.reserve(max(point.depth + point.tokens for point in points), max(point.batch for point in points))
    return [_time(bench, point) for point in points]


def _time(bench: Bench, point: Point) -> float:
    if point.kind == "prompt":
        return bench.prompt(point.tokens, point.depth).seconds
    return bench.decode(point.tokens, point.depth, point.batch).seconds


def _checkpoint(parameters: list[Parameter], choose: Choose) -> Any:
    """In memory; GGUF's names where every parameter has one, since its stacks are one tensor."""
    kind = "gguf" if all(p.gguf and choose(p) != F8_E4M3 for p in parameters) else "safetensors"
    tensors = {
        name: _tensor(name, p.stored_shape(kind), F32 if p.kind == "router" else choose(p))
        for p in parameters
        for name in p.stored_names(kind)
    }
    return SimpleNamespace(kind=kind, path=Path("random"), tensors=tensors)


def _tensor(name: str, shape: tuple[int, ...], format: Format) -> Tensor:
    format = F32 if len(shape) == 1 else format
    std = shape[-1] ** -0.5
    if format in OWN:
        return _own(name, shape, format, std)
    generator = np.random.Generator(np.random.SFC64(len(name)))
    mean = 1.0 if len(shape) == 1 else 0.0
    piece = noise(format, min(_PIECE, -(-int(np.prod(shape)) // format.block) * format.block), std, generator, mean)
    data = np.resize(piece, format.nbytes(shape))
    scales = None
    if format == F8_E4M3:
        scales = np.full([-(-n // F8_BLOCK) for n in shape], std / F8_STD, np.float32)
    return Tensor(name, format, shape, data, scales)


def _own(name: str, shape: tuple[int, ...], format: Format, std: float) -> Tensor:
    """Rows that are quantized once and repeated."""
    rows = np.random.default_rng(0).standard_normal((16, shape[-1]), np.float32) * np.float32(std)
    plain = Tensor(name, F32, rows.shape, rows.view(np.uint8).reshape(-1))
    made = convert(plain, {"D4": "q4", "D8": "q8"}[format.name])
    return Tensor(name, format, shape, np.resize(made.data, format.nbytes(shape)))


def _head(config: Any, choose: Choose, rows: int) -> float:
    """Its product with `rows` tokens, read from memory: in a step, all layers come between two of its uses."""
    shape = config.vocab_size, config.hidden
    name = ("embedding", "token_embd.weight") if config.tied else ("head", "output.weight")
    format = choose(Parameter(name[0], shape, None, name[1], name[0]))
    tensor = _tensor("head", shape, format if format != F8_E4M3 else BF16)
    arranged = bring_in(SimpleNamespace(tensors={"head": tensor}))
    weight = native.weight(arranged(tensor) if arranged else tensor)
    x, other = np.ones((rows, config.hidden), np.float32), np.ones(_EVICT // 4, np.float32)
    seconds = []
    for _ in range(5):
        other.sum()
        begin = perf_counter()
        native.linears(x, [weight])
        seconds.append(perf_counter() - begin)
    return median(seconds)

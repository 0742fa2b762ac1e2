"""Checkpoints of random weights at any shape: enough to time a model that is not at hand, and to test loading."""

import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from divebell.errors import BadInput, Unsupported
from divebell.models import architecture
from divebell.models.gguf_metadata import gguf_architecture, gguf_metadata, has_llama3_rope
from divebell.models.parameter import Parameter
from divebell.models.rope import rope_of_config
from divebell.text.synthetic import SyntheticVocabulary
from divebell.weights.entry import Entry
from divebell.weights.formats import BF16, F8_BLOCK, F8_E4M3, F16, F32, Format
from divebell.weights.mixture import FILE_TYPES, Mixture
from divebell.weights.noise import F8_STD, noise
from divebell.weights.write_gguf import write_gguf
from divebell.weights.write_safetensors import write_safetensors

GGUF_FORMATS = tuple(name.lower() for name in FILE_TYPES)
FOLDER_FORMATS = {"f32": F32, "f16": F16, "bf16": BF16, "fp8": F8_E4M3}
_DTYPES = {"f32": "float32", "f16": "float16"}
_PIECE = 1 << 20  # numbers made at once: a few megabytes, which stay in the cache until they are written
_FP8_KINDS = ("attention", "mlp", "experts", "shared_experts")


@dataclass(frozen=True, slots=True)
class Random:
    """One tensor to be made: normal numbers, or the given ones."""

    entry: Entry
    std: float
    mean: float = 0.0
    given: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything but the numbers: `nbytes` of tensors, and how to write a header and their data to a path."""

    randoms: list[Random]
    write: Callable[[Path, list[Entry], Iterator[np.ndarray]], None]

    @property
    def nbytes(self) -> int:
        return sum(random.entry.nbytes for random in self.randoms)


def plan(values: Mapping[str, Any], format: str, folder: bool, path: Path | str = "config.json") -> Plan:
    """values: a config.json's fields; those that begin with "_" are left out.

    folder: safetensors in one of FOLDER_FORMATS, else a GGUF in one of GGUF_FORMATS, mixed as llama.cpp mixes it.
    Raises Unsupported or BadFile naming the field or format.
    """
    values = {key: value for key, value in values.items() if not key.startswith("_")}
    known = tuple(FOLDER_FORMATS) if folder else GGUF_FORMATS
    if format not in known:
        raise Unsupported("format of a folder (safetensors)" if folder else "format of a .gguf", format, known)
    module = architecture(str(values.get("model_type")), path)
    return (_plan_folder if folder else _plan_gguf)(module, values, format, path)


def synth(plan: Plan, out: Path, seed: int = 0) -> None:
    """Writes the checkpoint: the same bytes for the same seed, whatever the machine.

    Raises BadInput when something is there already, or when the disk has too little room.
    """
    _check_room(out, plan.nbytes)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        plan.write(out, [random.entry for random in plan.randoms], _pieces(plan.randoms, seed, pool))


def _check_room(out: Path, wanted: int) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise BadInput(f"{out} exists; remove it or write somewhere else")
    if not out.parent.is_dir():
        raise BadInput(f"{out.parent} is not a folder; make it first")
    free = shutil.disk_usage(out.parent).free
    if wanted > free:
        raise BadInput(
            f"{out} would take {wanted:,} bytes and {free:,} are free there; take fewer layers or another disk"
        )


def _pieces(randoms: Iterable[Random], seed: int, pool: ThreadPoolExecutor) -> Iterator[np.ndarray]:
    """The bytes of all tensors in order; some pieces are made ahead on the other threads."""
    ahead: deque[Future] = deque()
    for random in randoms:
        for begin in range(0, random.entry.count, _PIECE):
            ahead.append(pool.submit(_piece, random, begin, seed))
            if len(ahead) > 2 * (os.cpu_count() or 1):
                yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _piece(random: Random, begin: int, seed: int) -> np.ndarray:
    entry, count = random.entry, min(_PIECE, random.entry.count - begin)
    if random.given is not None:
        return random.given[begin : begin + count].view(np.uint8)
    generator = np.random.Generator(np.random.SFC64([seed, crc32(entry.name.encode()), begin // _PIECE]))
    return noise(entry.format, count, random.std, generator, random.mean)


def _plan_gguf(module: Any, values: Mapping[str, Any], format: str, path: Path | str) -> Plan:
    config = module.Config.from_hf(values, path)
    factors = _rope_factors(config, values) if has_llama3_rope(values) else None
    config = _as_gguf_has_it(config, factors is not None)
    mixture = Mixture(format, config.layers, config.tied)
    randoms = []
    for parameter in module.parameters(config):
        if parameter.gguf is None:
            raise Unsupported(f"parameter {parameter.name} in a GGUF file", parameter.hf, path=path)
        entry = Entry(parameter.gguf, parameter.shape, mixture.format_of(parameter.gguf, parameter.shape))
        given = factors if parameter.name == "rope_factors" else None
        randoms.append(Random(entry, *_spread(parameter, config.tied), given=given))
    metadata = {
        "general.name": f"random {values['model_type']} {format}",
        "general.file_type": mixture.file_type,
        "general.quantization_version": 2,
        **gguf_metadata(config, values),
        **_vocabulary(values).gguf_metadata(),
    }
    return Plan(randoms, lambda out, entries, data: write_gguf(out, gguf_architecture(config), metadata, entries, data))


def _as_gguf_has_it(config: Any, rope_factors: bool) -> Any:
    """GGUF files hold MLA's up-projections apart, and Llama 3's RoPE scaling as a tensor."""
    if hasattr(config, "latent"):
        return replace(config, latent=replace(config.latent, split=True))
    return replace(config, rope_factors=rope_factors)


def _rope_factors(config: Any, values: Mapping[str, Any]) -> np.ndarray:
    from divebell.models.fields import Fields

    plain = {key: value for key, value in values.items() if key not in ("rope_scaling", "rope_parameters")}
    plain["rope_theta"] = (values.get("rope_parameters") or {}).get("rope_theta") or values.get("rope_theta", 10000.0)
    whole = rope_of_config(Fields(plain, "config.json"), config.head_dim, config.max_positions)
    return (whole.frequencies / config.rope.frequencies).astype(np.float32)


def _plan_folder(module: Any, values: Mapping[str, Any], format: str, path: Path | str) -> Plan:
    config = module.Config.from_hf(values, path)
    randoms = []
    for parameter in module.parameters(config):
        for name in parameter.stored_names("safetensors"):
            shape = parameter.stored_shape("safetensors")
            randoms += _stored(parameter, name, shape, FOLDER_FORMATS[format], config.tied)
    described = _described(values, format)

    def write(out: Path, entries: list[Entry], data: Iterator[np.ndarray]) -> None:
        out.mkdir(exist_ok=True)
        write_safetensors(out, entries, data)
        _vocabulary(values).save(out / "tokenizer.json")
        (out / "config.json").write_text(json.dumps(described, indent=2), encoding="utf-8")

    return Plan(randoms, write)


def _stored(parameter: Parameter, name: str, shape: tuple[int, ...], main: Format, tied: bool) -> list[Random]:
    """FP8 as DeepSeek-V3 is released: matrices of the layers with their scales, the rest BF16, router biases F32."""
    std, mean = _spread(parameter, tied)
    if main != F8_E4M3:
        return [Random(Entry(name, shape, main), std, mean)]
    if parameter.kind not in _FP8_KINDS:
        return [Random(Entry(name, shape, F32 if "correction" in name else BF16), std, mean)]
    scale, blocks = std / F8_STD, tuple(-(-n // F8_BLOCK) for n in shape)
    scales = Random(Entry(f"{name}_scale_inv", blocks, F32), 0.05 * scale, scale)
    return [Random(Entry(name, shape, F8_E4M3), std), scales]


def _described(values: Mapping[str, Any], format: str) -> dict[str, Any]:
    """The config.json that goes with the weights."""
    described = {key: value for key, value in values.items() if key not in ("quantization_config", "auto_map")}
    described["torch_dtype"] = _DTYPES.get(format, "bfloat16")
    if format == "fp8":
        scheme = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic"}
        described["quantization_config"] = scheme | {"weight_block_size": [F8_BLOCK, F8_BLOCK]}
    return described


def _spread(parameter: Parameter, tied: bool) -> tuple[float, float]:
    """Deviation and mean that keep activations near 1 through all layers, and the choice of experts varied."""
    if parameter.kind == "norm":
        return 0.05, 1.0
    if len(parameter.shape) == 1:
        return 0.02, 0.0
    if parameter.kind == "embedding" and not tied:
        return 1.0, 0.0
    inputs = parameter.shape[1] if parameter.name.endswith(".k_b") else parameter.shape[-1]  # k_b is stored transposed
    return inputs**-0.5, 0.0


def _vocabulary(values: Mapping[str, Any]) -> SyntheticVocabulary:
    ends = values.get("eos_token_id")
    end = ends[0] if isinstance(ends, list) and ends else ends
    return SyntheticVocabulary(int(values["vocab_size"]), values.get("bos_token_id"), end)

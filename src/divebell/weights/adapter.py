"""Adapters as peft saves them: adapter_config.json beside adapter_model.safetensors (peft's documentation).

What an adapter changes of a module is scale * B A (LoRA, arXiv 2106.09685); a config's patterns give single modules
another rank or alpha.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import sqrt
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from divebell.config import available_memory, format_bytes
from divebell.errors import BadFile, BadInput, Mismatch, OverBudget, Unsupported
from divebell.weights.entry import Entry
from divebell.weights.formats import BF16, F16, F32
from divebell.weights.mapped import brief
from divebell.weights.safetensors import Tensors, read_file
from divebell.weights.strict_json import read_object
from divebell.weights.tensor import Tensor
from divebell.weights.write_safetensors import write_file

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX, PARTS = "base_model.model.", (".lora_A.weight", ".lora_B.weight")
MOST_RANK, MOST_ALPHA = 4096, 1e9
# Fields that say how an adapter was made or is to be found, and nothing of what it computes.
_TOLD = {
    *("base_model_name_or_path", "revision", "task_type", "inference_mode", "auto_mapping", "peft_version"),
    *("target_modules", "exclude_modules", "target_parameters", "layers_to_transform", "layers_pattern"),
    *("lora_dropout", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "runtime_config"),
    *("megatron_core", "qalora_group_size", "ensure_weight_tying"),
}
_READ = {"peft_type", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "init_lora_weights", "bias"}
_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")  # others change the base's weights too


@dataclass(frozen=True, slots=True)
class Pair:
    """a: (r, columns), b: (rows, r); float32 or bfloat16, finite, in memory."""

    a: np.ndarray
    b: np.ndarray


class AdapterFile:
    """A folder's adapter. pairs: by peft's module names, such as "model.layers.0.self_attn.q_proj". config: as read."""

    def __init__(self, folder: Path, config: Mapping[str, Any], pairs: Mapping[str, Pair]):
        self.folder, self.pairs, self.config = folder, pairs, config
        self._patterns = {name: _pattern(folder, name, config.get(name)) for name in ("rank_pattern", "alpha_pattern")}

    @property
    def base(self) -> str | None:
        """The model that it says it is for."""
        return self.config.get("base_model_name_or_path")

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return sum(pair.a.size + pair.b.size for pair in self.pairs.values())

    def rank(self, module: str) -> int:
        """Raises BadFile where the config gives none that can be."""
        rank = self._matched("rank_pattern", module, self.config.get("r", 8))
        if type(rank) is not int or not 1 <= rank <= MOST_RANK:
            raise BadFile(self.folder / CONFIG, "r", f"is {brief(rank)} for {module}; it must be 1 to {MOST_RANK}")
        return rank

    def scale(self, module: str) -> float:
        """alpha / r, or alpha / sqrt(r) where the config asks for it (rsLoRA, arXiv 2312.03732)."""
        alpha = self._matched("alpha_pattern", module, self.config.get("lora_alpha", 8))
        if type(alpha) not in (int, float) or not abs(alpha) <= MOST_ALPHA:
            raise BadFile(self.folder / CONFIG, "lora_alpha", f"is {brief(alpha)} for {module}; it must be a number")
        rank = self.rank(module)
        return alpha / (sqrt(rank) if self.config.get("use_rslora") else rank)

    def _matched(self, field: str, module: str, default: Any) -> Any:
        """As peft matches: the first pattern that is the end of the name, whole parts of it."""
        module = self._targeted(module)
        for pattern, value in self._patterns[field].items():
            anchored = pattern.removeprefix("^")
            if fnmatchcase(module, anchored) or (anchored == pattern and fnmatchcase(module, f"*.{pattern}")):
                return value
        return default

    def _targeted(self, module: str) -> str:
        """With the parameter's name behind it, where peft was told to target that and no module."""
        own, targets = f"{module}.weight", self.config.get("target_parameters")
        listed = targets if isinstance(targets, list) else []
        return own if any(own == target or own.endswith(f".{target}") for target in listed) else module


def read_adapter(folder: "Path | str") -> AdapterFile:
    """Raises BadInput for a path that is no folder with an adapter, BadFile or Unsupported naming the field or tensor,
    Mismatch for numbers that are NaN or infinite."""
    folder = Path(folder)
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise BadInput(f"{folder} is no adapter: it must be a folder with {CONFIG} and {WEIGHTS}, as peft saves them")
    _check_size(folder / WEIGHTS)
    config = read_object(folder / CONFIG, "config")
    _check_config(folder / CONFIG, config)
    return AdapterFile(folder, config, _pairs(folder / WEIGHTS))


def _check_size(path: Path) -> None:
    """All of it is read at once, and float16 doubles."""
    size, available = path.stat().st_size, available_memory()
    if 2 * size > available:
        raise OverBudget(f"{path} takes up to {format_bytes(2 * size)}, and {format_bytes(available)} are available")


def _check_config(path: Path, config: Mapping[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise Unsupported("peft_type", config.get("peft_type"), ("LORA",), path)
    if config.get("bias", "none") != "none":
        raise Unsupported("bias", config["bias"], ("none",), path)
    start = config.get("init_lora_weights")
    if not any(start is known or (isinstance(start, str) and start == known) for known in _STARTS):
        known = [str(each) for each in _STARTS if each is not None]
        raise Unsupported("init_lora_weights", start, known, path)
    if type(config.get("use_rslora", False)) not in (bool, type(None)):
        raise BadFile(path, "use_rslora", "must be true or false")
    if not isinstance(config.get("base_model_name_or_path"), str | None):
        raise BadFile(path, "base_model_name_or_path", "must be a string")
    for field, value in config.items():
        if field not in _TOLD | _READ and value not in (None, False, [], {}, ""):
            raise Unsupported(brief(field), value, path=path)


def _pattern(folder: Path, field: str, found: Any) -> dict[str, Any]:
    """Regular expressions of a stranger are not run: of names, dots and ".*" they become wildcards."""
    if not isinstance(found or {}, dict):
        raise BadFile(folder / CONFIG, field, "must be an object of module names")
    patterns = {}
    for name, value in (found or {}).items():
        plain = name.replace(r"\.", ".").replace(".*", "*")
        if not plain.removeprefix("^").replace("*", "").replace(".", "").replace("_", "").isalnum() or len(name) > 200:
            raise Unsupported(f"{field}: pattern", name, ("names with dots, ^ and .*",), folder / CONFIG)
        patterns[plain] = value
    return patterns


def _pairs(path: Path) -> dict[str, Pair]:
    tensors = Tensors(read_file(path))
    modules = dict.fromkeys(_module(path, name) for name in tensors)
    if not modules:
        raise BadFile(path, "tensors", "there are none")
    return {module: _pair(path, module, tensors) for module in modules}


def _module(path: Path, name: str) -> str:
    part = next((part for part in PARTS if name.endswith(part)), None)
    if part is None or not name.startswith(PREFIX):
        raise Unsupported("tensor", name, [f"{PREFIX}...{part}" for part in PARTS], path)
    return name.removeprefix(PREFIX).removesuffix(part)


def _pair(path: Path, module: str, tensors: Mapping[str, Tensor]) -> Pair:
    names = [f"{PREFIX}{module}{part}" for part in PARTS]
    lost = next((name for name in names if name not in tensors), None)
    if lost:
        raise BadFile(path, brief(lost), "is missing, but the other half of it is there")
    a, b = (_numbers(path, tensors[name]) for name in names)
    if a.shape[0] != b.shape[1]:
        raise BadFile(path, brief(module), f"A is {a.shape} and B is {b.shape}; A's rows must be B's columns")
    return Pair(a, b)


def _numbers(path: Path, tensor: Tensor) -> np.ndarray:
    if tensor.format not in (F32, F16, BF16) or len(tensor.shape) != 2 or not tensor.count:
        raise BadFile(path, brief(tensor.name), f"is {tensor.format.name} of shape {tensor.shape}; it must be a matrix")
    exact = tensor.data.view(ml_dtypes.bfloat16).reshape(tensor.shape).copy() if tensor.format is BF16 else tensor.f32()
    if not np.isfinite(exact).all():
        raise Mismatch(f"{path}: tensor {brief(tensor.name)} holds NaN or infinity: the file is damaged")
    return exact


def write_adapter(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Into `folder`, which exists. tensors: float32, by peft's names. The weights appear last, complete."""
    (folder / CONFIG).write_text(json.dumps(dict(config), indent=2) + "\n", encoding="utf-8")
    entries = [Entry(name, values.shape, F32) for name, values in tensors.items()]
    data = (np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint8) for values in tensors.values())
    write_file(folder / WEIGHTS, entries, data)

"""Architectures, one short file each, named as Hugging Face's `model_type`; and what they share."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from divebell.errors import Unsupported


def architecture(name: str, path: Path | str | None = None) -> ModuleType:
    """The module of a Hugging Face `model_type` or GGUF `general.architecture`; Unsupported names the known ones."""
    if name in _files() and (module := _architecture(name)):
        return module
    found = {own: module for own in _files() if (module := _architecture(own))}
    for module in found.values():
        if name in module.GGUF:
            return module
    known = {*found, *(gguf for module in found.values() for gguf in module.GGUF)}
    raise Unsupported("architecture", name, tuple(known), path)


def load(
    checkpoint: Any,
    ops: ModuleType,
    weights: str = "stored",
    cache: str | None = None,
    arranged: Callable[[Any], Any] | None = None,
) -> Any:
    """A decoder.Model of an open checkpoint.

    weights: "stored" computes from the file's own blocks; "f32", "bf16", "q8", "q4" convert while loading.
    cache: "f32", "bf16", or "q8" for latents; None: what `usual_cache` says.
    arranged: gives each tensor that is multiplied as it is stored the order and the memory that it shall lie in.
    Raises Unsupported, BadFile or Mismatch naming the field or tensor, BadInput for another `weights` or `cache`.
    """
    from divebell.models import cache_format
    from divebell.models.adapted import Adapted
    from divebell.models.binding import Binding
    from divebell.models.decoder import Model

    module = architecture(checkpoint.architecture, checkpoint.path)
    config = configuration(checkpoint)
    cache = cache or usual_cache(weights)
    cache_format.check(cache, module.cache_layout(config))
    adapted = Adapted(ops)
    binding = Binding(checkpoint, module.parameters(config), adapted.ops, weights, module.unused(config), arranged)
    adapted.binding = binding
    return Model(module, config, binding, cache, adapted)


def adapter_bytes(checkpoint: Any, file: Any, weights: str) -> int:
    """Memory that an adapter (weights.adapter.AdapterFile) will take beside the model's `weights`. Reads none of them.

    Raises Mismatch for an adapter of another model, BadFile where its file contradicts itself.
    """
    from divebell.models.adapter import memory
    from divebell.models.changes import changes

    module = architecture(checkpoint.architecture, checkpoint.path)
    return memory(changes(file, module, configuration(checkpoint)), weights)


def usual_cache(weights: str) -> str:
    """The cache's format where none is asked for."""
    return "f32" if weights == "f32" else "bf16"


def configuration(checkpoint: Any) -> Any:
    """The checked Config of an open checkpoint, from its headers.

    A stored head that differs from the embedding is used though config.json calls it tied, as in transformers.
    """
    module = architecture(checkpoint.architecture, checkpoint.path)
    if checkpoint.kind == "gguf":
        shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}
        return module.Config.from_gguf(checkpoint.config, shapes, checkpoint.path)
    path = Path(checkpoint.path) / "config.json"
    _check_quantization(checkpoint.config, path)
    config = module.Config.from_hf(checkpoint.config, path)
    return replace(config, tied=False) if config.tied and _has_own_head(checkpoint) else config


def describe(checkpoint: Any) -> Any:
    """A description.Description of an open checkpoint. Reads no weights; raises as `configuration` does."""
    from divebell.models import description

    module = architecture(checkpoint.architecture, checkpoint.path)
    return description.describe(checkpoint.architecture, module, configuration(checkpoint), checkpoint)


def describe_config(path: Path | str) -> Any:
    """The same of a config.json alone, without bytes."""
    from divebell.models import description
    from divebell.models.fields import Fields
    from divebell.weights.strict_json import read_object

    values = read_object(Path(path), "config")
    name = Fields(values, path).text("model_type")
    module = architecture(name, path)
    return description.describe(name, module, module.Config.from_hf(values, path))


def _files() -> list[str]:
    """This package's own modules: the only ones that a name from a file can be."""
    return [module.name for module in pkgutil.iter_modules(__path__)]


def _architecture(own: str) -> ModuleType | None:
    module = importlib.import_module(f"{__name__}.{own}")
    return module if hasattr(module, "GGUF") else None


def _has_own_head(checkpoint: Any) -> bool:
    from divebell.models.parameter import EMBEDDING, HEAD

    stored = checkpoint.tensors
    return HEAD in stored and EMBEDDING in stored and not checkpoint.same(HEAD, EMBEDDING)


def _check_quantization(values: Mapping[str, Any], path: Path) -> None:
    """FP8 in blocks of 128x128 as DeepSeek releases it is read, and our own; other schemes mean other tensors."""
    from divebell.models.fields import Fields

    scheme = Fields(values, path).section("quantization_config")
    if scheme is None:
        return
    if scheme.choice("quant_method", "none", ("fp8", "divebell")) == "divebell":
        return
    block = scheme.items("weight_block_size")
    if block != [128, 128]:
        raise Unsupported("quantization_config.weight_block_size", block, ("[128, 128]",), path)

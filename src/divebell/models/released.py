"""A checkpoint as Hugging Face's files have it: names, shapes, order of rows; each tensor is made when it is asked for.

A folder's are so already. A GGUF has names of its own, a layer's routed experts in one stack, rows of rotated heads in
pairs, and MLA's up-projection in halves, of which one is transposed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from divebell import models
from divebell.models.binding import Binding
from divebell.models.parameter import Parameter, pairs_of_halves
from divebell.ops import reference
from divebell.weights.formats import F32, Format
from divebell.weights.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Released:
    """One tensor. format: of the file that it comes from. make: it in that format, or in F32. scaled: FP8 in blocks."""

    name: str
    shape: tuple[int, ...]
    format: Format
    make: Callable[[], Tensor]
    scaled: bool = False


def released(checkpoint: Any) -> list[Released]:
    """All of a folder's, in its order; of a GGUF what the model reads.

    Raises as opening the model does where files and configuration differ.
    """
    module, config = models.architecture(checkpoint.architecture, checkpoint.path), models.configuration(checkpoint)
    binding = Binding(checkpoint, module.parameters(config), reference, "stored", module.unused(config))
    if checkpoint.kind == "safetensors":
        return [_as_it_is(tensor) for tensor in checkpoint.tensors.values()]
    return [each for p in module.parameters(config.released()) for each in _of_gguf(p, binding)]


def _as_it_is(tensor: Tensor) -> Released:
    return Released(tensor.name, tensor.shape, tensor.format, lambda: tensor, tensor.scales is not None)


def _of_gguf(parameter: Parameter, binding: Binding) -> list[Released]:
    stored = binding.parameters.get(parameter.name)
    if stored is None:
        return [_up_projection(parameter, binding)]
    tensor = binding.checkpoint.tensors[stored.gguf]
    parts = tensor.split() if stored.is_stack else [tensor]
    return [
        Released(name, part.shape, part.format, partial(_in_halves, part, stored.paired))
        for name, part in zip(parameter.stored_names("safetensors"), parts, strict=True)
    ]


def _up_projection(parameter: Parameter, binding: Binding) -> Released:
    prefix = parameter.name.removesuffix("kv_b")
    half = binding.checkpoint.tensors[binding.parameters[f"{prefix}v_b"].gguf]

    def make() -> Tensor:
        numbers = np.ascontiguousarray(binding.whole_up_projection(prefix))
        return Tensor(parameter.hf, F32, numbers.shape, numbers.reshape(-1).view(np.uint8))

    return Released(parameter.hf, parameter.shape, half.format, make)


def _in_halves(tensor: Tensor, heads: int) -> Tensor:
    """Rows of rotated heads, one half of a head after the other; blocks run along rows, so no number changes."""
    if not heads:
        return tensor
    rows = tensor.data.reshape(len(tensor), -1)
    halves = np.argsort(pairs_of_halves(heads, len(tensor)))
    return replace(tensor, data=rows[halves].reshape(-1))

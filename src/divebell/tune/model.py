"""A model on `ops.torch`, whose weights are known by their own names, as the architecture's `parameters` has them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint as recomputed

from divebell import models
from divebell.models.binding import Binding
from divebell.models.decoder import Model
from divebell.models.parameter import PARTS, Parameter
from divebell.ops import native
from divebell.ops import torch as ops
from divebell.ops.batch import Batch
from divebell.ops.torch import UpProjections, Weight


class Trainee:
    """weights: by name; of a stack of experts, "layers.3.experts.gate" is a list. vectors: norms and biases by name.

    ups: the up-projections of each MLA layer by the beginning of their names, such as "layers.3.".
    """

    def __init__(self, checkpoint: Any, conversion: str = "stored"):
        module, self.config = models.architecture(checkpoint.architecture), models.configuration(checkpoint)
        self.checkpoint = checkpoint
        binding = _Remembered(checkpoint, module.parameters(self.config), ops, conversion, module.unused(self.config))
        self.model = Model(module, self.config, binding, "f32")
        self.parameters: dict[str, Parameter] = binding.parameters
        self.weights, self.vectors, self.ups = binding.weights, binding.vectors, binding.ups
        self.numbers = binding.numbers

    def hidden(self, sequences: Sequence[np.ndarray]) -> torch.Tensor:
        """Rows after the final norm, (T, d), of whole sequences of token ids side by side; none sees another's."""
        batch = Batch.of(list(sequences), [0] * len(sequences), [[0]] * len(sequences))
        return self.model.forward(batch, [dict.fromkeys(layer) for layer in self.model.cache_layout])

    def logits(self, sequences: Sequence[np.ndarray]) -> torch.Tensor:
        """(T, vocabulary)"""
        return self.model.logits(self.hidden(sequences))

    @contextmanager
    def without_adapters(self) -> Iterator[None]:
        """For as long as this lasts it is the base that the adapters were added to."""
        lists = (weight if isinstance(weight, list) else [weight] for weight in self.weights.values())
        bearers = [*chain.from_iterable(lists), *self.ups.values()]
        adapters = [bearer.adapter for bearer in bearers]
        for bearer in bearers:
            bearer.adapter = None
        try:
            yield
        finally:
            for bearer, adapter in zip(bearers, adapters, strict=True):
                bearer.adapter = adapter

    def recompute_layers(self) -> None:
        """Keeps no activations within layers: backward runs each of them once more."""
        self.model.layers = [_recomputed(layer) for layer in self.model.layers]


def use_threads(count: int) -> None:
    """Of torch's own arithmetic and of the native kernels."""
    torch.set_num_threads(count)
    native.set_threads(count)


def _recomputed(layer: Any) -> Any:
    return lambda *inputs: recomputed(layer, *inputs, use_reentrant=False)


class _Remembered(Binding):
    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.weights: dict[str, Weight | list[Weight]] = {}
        self.vectors: dict[str, torch.nn.Parameter] = {}
        self.ups: dict[str, UpProjections] = {}

    def matrix(self, name: str) -> Weight:
        return self.weights.setdefault(name, super().matrix(name))

    def vector(self, name: str) -> torch.nn.Parameter | None:
        values = super().vector(name)
        if values is not None:
            self.vectors[name] = values
        return values

    def experts(self, name: str, shared: str) -> ops.Experts:
        experts = super().experts(name, shared)
        for index, part in enumerate(PARTS):
            self.weights[f"{name}.{part}"] = [feed[index] for feed in experts.routed]
            if experts.shared:
                self.weights[f"{shared}.{part}"] = experts.shared[index]
        return experts

    def up_projections(self, prefix: str) -> UpProjections:
        up = self.ups[prefix] = super().up_projections(prefix)
        named = {"kv_b": up.whole, "k_b": up.keys, "v_b": up.values}
        self.weights |= {prefix + name: weight for name, weight in named.items() if weight}
        return up

"""A model on `ops.torch`, whose weights are known by their own names, as the architecture's `parameters` has them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint as recomputed

from divebell import models
from divebell.models import mtp as one_more
from divebell.models.binding import Binding
from divebell.models.decoder import Model
from divebell.models.moe import Moe
from divebell.models.parameter import PARTS, Parameter
from divebell.ops import native
from divebell.ops import torch as ops
from divebell.ops.batch import Batch
from divebell.ops.torch import UpProjections, Weight


class Trainee:
    """weights: by name; of a stack of experts, "layers.3.experts.gate" is a list. vectors: norms and biases by name.

    ups: the up-projections of each MLA layer by the beginning of their names, such as "layers.3.".
    mtp: the layer that tells the token after the next, where it is asked for. mixtures: the experts of each layer that
    has any, by the beginning of their names; those of the MTP layer come last.
    """

    def __init__(self, checkpoint: Any, conversion: str = "stored", mtp: bool = False):
        module, self.config = models.architecture(checkpoint.architecture), models.configuration(checkpoint)
        self.checkpoint = checkpoint
        parameters = module.parameters(self.config) + (one_more.parameters(module, self.config) if mtp else [])
        binding = _Remembered(checkpoint, parameters, ops, conversion, module.unused(self.config))
        self.model = Model(module, self.config, binding, "f32")
        self.mtp = one_more.Mtp(module, self.config, binding) if mtp else None
        self.mixtures = self._mixtures()
        self.parameters: dict[str, Parameter] = binding.parameters
        self.weights, self.vectors, self.ups = binding.weights, binding.vectors, binding.ups
        self.numbers = binding.numbers
        self._begun = [None for _ in self._bearers()]

    def hidden(self, sequences: Sequence[np.ndarray]) -> torch.Tensor:
        """Rows after the final norm, (T, d), of whole sequences of token ids side by side; none sees another's."""
        batch = Batch.of(list(sequences), [0] * len(sequences), [[0]] * len(sequences))
        return self.model.forward(batch, [dict.fromkeys(layer) for layer in self.model.cache_layout])

    def logits(self, sequences: Sequence[np.ndarray]) -> torch.Tensor:
        """(T, vocabulary)"""
        return self.model.logits(self.hidden(sequences))

    def begin(self) -> None:
        """Tuning begins with the adapters that there are now."""
        self._begun = [bearer.adapter for bearer in self._bearers()]

    @contextmanager
    def as_it_began(self) -> Iterator[None]:
        """For as long as this lasts it is the model that is tuned: without adapters, or with those before `begin`."""
        adapters = [bearer.adapter for bearer in self._bearers()]
        self._bear(self._begun)
        try:
            yield
        finally:
            self._bear(adapters)

    def _bearers(self) -> list[Weight | UpProjections]:
        lists = (weight if isinstance(weight, list) else [weight] for weight in self.weights.values())
        return [*chain.from_iterable(lists), *self.ups.values()]

    def _bear(self, adapters: Sequence[ops.Adapter | None]) -> None:
        for bearer, adapter in zip(self._bearers(), adapters, strict=True):
            bearer.adapter = adapter

    def hidden_ahead(self, hidden: torch.Tensor, sequences: Sequence[np.ndarray]) -> torch.Tensor:
        """Rows of the MTP layer, of each token but the last of its sequence. hidden: what `hidden` gave for them."""
        batch = Batch.of([ids[1:] for ids in sequences], [0] * len(sequences), [[0]] * len(sequences))
        followed = np.concatenate([np.arange(len(ids)) < len(ids) - 1 for ids in sequences])
        following = ops.embed(self.weights["embedding"], batch.ids)
        pages = dict.fromkeys(self.model.cache_layout[-1])
        return self.mtp(hidden[torch.from_numpy(followed)], following, batch, pages)

    def _mixtures(self) -> dict[str, Moe]:
        layers = [*self.model.layers, *([self.mtp.layer] if self.mtp else [])]
        found = {f"layers.{index}.": getattr(layer, "mlp", None) for index, layer in enumerate(layers)}
        return {name: mlp for name, mlp in found.items() if isinstance(mlp, Moe)}

    def recompute_layers(self) -> None:
        """Keeps no activations within layers: backward runs each of them once more."""
        self.model.layers = [_recomputed(layer) for layer in self.model.layers]
        if self.mtp:
            self.mtp.layer = _recomputed(self.mtp.layer)


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

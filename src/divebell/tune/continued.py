"""Tuning that goes on from an adapter: at the matrices that it changes, with its ranks, scales and config."""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from divebell import models
from divebell.errors import BadInput
from divebell.models.changes import KINDS, changes, stack_name
from divebell.models.parameter import Parameter, pairs_of_halves
from divebell.tune.lora import Lora, LowRank
from divebell.tune.model import Trainee
from divebell.weights.adapter import AdapterFile

_APART = re.compile(r"\.experts\.\d+\.")


class Continued(Lora):
    """What it began with stays beside it, as what preferences and rewards are compared with."""

    def __init__(self, begun: AdapterFile, weights: str):
        super().__init__(kinds=KINDS, weights=weights)
        self._begun = begun

    def check(self, checkpoint: Any) -> None:
        """Mismatch for an adapter of another model, BadInput where it is laid out as none that is trained here."""
        changes(self._begun, models.architecture(checkpoint.architecture), models.configuration(checkpoint))
        if apart := next(filter(_APART.search, self._begun.pairs), None):
            told = f"{self._begun.folder} has {apart} apart from its layer's other experts"
            raise BadInput(f"{told}; tuning goes on where they are stacked, as peft saves them since transformers 5")

    def size(self, parameters: Iterable[Parameter]) -> int:
        return self._begun.count

    def attach(self, trainee: Trainee) -> dict[str, torch.nn.Parameter]:
        super().attach(trainee)
        trainee.begin()
        return super().attach(trainee)

    def module(self, parameter: Parameter) -> str | None:
        module = super().module(parameter)
        if parameter.is_stack:
            return self._stack(module, parameter)
        return module if module in self._begun.pairs else None

    def _stack(self, module: str, parameter: Parameter) -> str | None:
        """Of two stacks peft calls the one that it wraps first "base_layer"; where there is one, none is called so."""
        fused, (rows, columns) = _fused(parameter), parameter.shape[1:]
        for name in (module.removesuffix(".base_layer") + end for end in ("", ".base_layer")):
            pair = self._begun.pairs.get(name)
            if pair and (len(pair.b), pair.a.shape[1]) == (rows * (1 + fused), columns):
                return name
        return None

    def begin(self, module: str, parameter: Parameter, rows: int, columns: int, experts: int) -> LowRank:
        """As the file has it, with rows as the model's has them."""
        pair, named = self._begun.pairs[module], module
        if parameter.is_stack:
            named = stack_name(module, _fused(parameter))
        order = pairs_of_halves(parameter.paired, rows) if parameter.paired else slice(None)
        a, b = (torch.from_numpy(part.astype(np.float32)) for part in (pair.a, pair.b[order]))
        return LowRank(a, b, self._begun.scale(named), experts)

    def config(self, trainee: Trainee) -> dict[str, Any]:
        return dict(self._begun.config) | {"base_model_name_or_path": str(trainee.checkpoint.path)}


def _fused(stack: Parameter) -> bool:
    """Whether it is the gates, which are one stack with the ups."""
    return stack.name.endswith(".gate")

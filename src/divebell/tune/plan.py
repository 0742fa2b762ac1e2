"""What a run will take, told before it begins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from divebell import models
from divebell.config import format_bytes
from divebell.engine.load import weight_bytes
from divebell.errors import OverBudget
from divebell.tune.loss import ROWS
from divebell.tune.samples import Sample, batches_of
from divebell.tune.settings import Settings

_TRAINED = 16  # bytes of a trained number: itself, its gradient, two moments
_LOGIT_COPIES = 4  # of a chunk of logits: themselves, their softmax, their gradient, the product's
_SLACK = 1.25
_PROGRAM = 256 << 20  # interpreter, libraries, tokenizer


@dataclass(frozen=True, slots=True)
class Plan:
    """memory: bytes by what they are for. multiply_adds: of one token, forward and backward."""

    steps: int
    samples: int
    tokens: int
    learned: int
    trained: int
    recompute: bool
    memory: dict[str, int]
    multiply_adds: int

    @property
    def bytes(self) -> int:
        return sum(self.memory.values())

    def check(self, ram: int) -> None:
        """OverBudget with the sum where it is more than `ram`."""
        if self.bytes > ram:
            parts = " + ".join(f"{name} {format_bytes(size)}" for name, size in self.memory.items())
            raise OverBudget(
                f"{parts} = {format_bytes(self.bytes)}, and {format_bytes(ram)} may be used; take a shorter --context, "
                "fewer --pack tokens, a smaller --rank, or lora instead of full"
            )


@dataclass(frozen=True, slots=True)
class Passes:
    """Of each token through the model. everything: all weights have gradients. forwards: further ones without any.

    beside: multiply-adds of other models.
    """

    everything: bool
    forwards: int
    beside: int = 0

    @property
    def count(self) -> int:
        return (3 if self.everything else 2) + self.forwards


def plan(
    checkpoint: Any,
    weights: str,
    trained: int,
    passes: Passes,
    samples: Sequence[Sample],
    settings: Settings,
    ram: int,
    further: Mapping[str, int],
) -> Plan:
    """trained: numbers that are. samples: to train on. further: memory that the objective takes for itself."""
    description = models.describe(checkpoint)
    longest = max(min(settings.pack, sum(map(len, samples))), max(map(len, samples)))
    memory = {
        **further,
        "weights": 0 if passes.everything else weight_bytes(description, weights),
        "training": trained * _TRAINED,
        "logits": ROWS * description.vocabulary * 4 * _LOGIT_COPIES,
        "program": _PROGRAM,
    }
    whole, layer = activations(checkpoint)
    fixed = sum(memory.values())
    recompute = fixed + whole * longest > ram
    states = description.layers * description.hidden * 4
    memory["activations"] = (layer + states if recompute else whole) * longest
    return Plan(
        steps=max(1, round(settings.epochs * batches_of(len(samples), settings.batch))),
        samples=len(samples),
        tokens=sum(map(len, samples)),
        learned=sum(sample.learned for sample in samples),
        trained=trained,
        recompute=recompute,
        memory=memory,
        multiply_adds=description.active_parameters * (passes.count + recompute) + passes.beside,
    )


def activations(checkpoint: Any) -> tuple[int, int]:
    """Bytes that backward needs of one token: of the whole model, and of its largest layer.

    Every product keeps what goes in and what comes out.
    """
    module, config = models.architecture(checkpoint.architecture), models.configuration(checkpoint)
    experts = getattr(config, "experts", None)
    layers: dict[str, float] = {}
    for parameter in module.parameters(config):
        if parameter.name.startswith("layers.") and len(parameter.shape) > 1:
            times = experts.router.top_k if parameter.is_stack else prod(parameter.shape[:-2])
            layer = parameter.name.split(".")[1]
            layers[layer] = layers.get(layer, 0) + times * sum(parameter.shape[-2:]) * 4 * _SLACK
    return int(sum(layers.values())), int(max(layers.values()))

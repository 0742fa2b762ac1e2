"""The loop that all methods share: batches in, a record of each step out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch

from divebell.tune.optimizer import Optimizer
from divebell.tune.samples import Pack

Loss = Callable[[Any, Pack], torch.Tensor]
"""(model, pack) -> the sum over its trained tokens."""


@dataclass(frozen=True, slots=True)
class Step:
    """loss: mean over the trained tokens, in nats. tokens: all that were run; learned: those of them that count.

    norm: of the gradients, before they were cut.
    """

    number: int
    loss: float
    tokens: int
    learned: int
    rate: float
    norm: float
    seconds: float


def train(
    model: Any,
    batches: Iterable[list[Pack]],
    loss: Loss,
    optimizer: Optimizer,
    rate: Callable[[int], float],
    first: int = 0,
) -> Iterator[Step]:
    """One optimizer step for each batch, whose packs' gradients add up; ends with `batches`.

    rate: step's number -> learning rate. first: number of the first step.
    """
    for number, packs in enumerate(batches, first):
        begin = perf_counter()
        learned = sum(sample.learned for pack in packs for sample in pack)
        total = 0.0
        for pack in packs:
            part = loss(model, pack) / learned
            part.backward()
            total += part.item()
        own = rate(number)
        norm = optimizer.step(own)
        tokens = sum(len(sample) for pack in packs for sample in pack)
        yield Step(number, total, tokens, learned, own, norm, perf_counter() - begin)


@torch.no_grad()
def evaluate(model: Any, packs: Iterable[Pack], loss: Loss) -> float:
    """Mean loss over the trained tokens of held-out packs."""
    total, learned = 0.0, 0
    for pack in packs:
        total += loss(model, pack).item()
        learned += sum(sample.learned for sample in pack)
    return total / learned

"""The loop that all methods share: batches in, a record of each step out."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from time import perf_counter
from typing import Any

import torch

from divebell.errors import BadInput
from divebell.tune.optimizer import Optimizer
from divebell.tune.samples import Pack

Loss = Callable[[Any, Pack], torch.Tensor | Mapping[str, torch.Tensor]]
"""(model, pack) -> the sum over its terms; or several sums by name, of which "loss" is minimised."""


@dataclass(frozen=True, slots=True)
class Step:
    """means: over the terms of the batch, "loss" among them. tokens: all that were run; learned: those that count.

    norm: of the gradients, before they were cut.
    """

    number: int
    means: dict[str, float]
    tokens: int
    learned: int
    rate: float
    norm: float
    seconds: float

    @property
    def loss(self) -> float:
        """In nats."""
        return self.means["loss"]


def train(
    model: Any,
    batches: Iterable[list[Pack]],
    loss: Loss,
    optimizer: Optimizer,
    rate: Callable[[int], float],
    first: int = 0,
    updates: int = 1,
) -> Iterator[Step]:
    """`updates` of the optimizer for each batch, whose packs' gradients add up; ends with `batches`.

    rate: step's number -> learning rate. first: number of the first step. Where batches are made while they are
    trained on, the time of that counts. Raises BadInput where gradients are no longer finite, and follows them not.
    """
    begin = perf_counter()
    for number, packs in enumerate(batches, first):
        own = rate(number)
        for _ in range(updates):
            means = _followed(model, packs, loss)
            norm = optimizer.step(own)
            if not isfinite(norm):
                raise BadInput(
                    f"step {number}: the gradients' norm is {norm} and the loss {means['loss']}; the rate is {own:g} "
                    "there: take a lower one, with another --out"
                )
        samples = [sample for pack in packs for sample in pack]
        tokens, learned = sum(map(len, samples)), sum(sample.learned for sample in samples)
        yield Step(number, means, tokens, learned, own, norm, perf_counter() - begin)
        begin = perf_counter()


@torch.no_grad()
def evaluate(model: Any, packs: Iterable[Pack], loss: Loss) -> dict[str, float]:
    """Means over the terms of held-out packs, by name."""
    totals, terms = {}, 0
    for pack in packs:
        totals = {name: totals.get(name, 0.0) + part.item() for name, part in _by_name(loss(model, pack)).items()}
        terms += _terms(pack)
    return {name: total / terms for name, total in totals.items()}


def _followed(model: Any, packs: list[Pack], loss: Loss) -> dict[str, float]:
    """The means, whose gradients are added up."""
    terms, means = sum(map(_terms, packs)), {}
    for pack in packs:
        parts = {name: part / terms for name, part in _by_name(loss(model, pack)).items()}
        parts["loss"].backward()
        means = {name: means.get(name, 0.0) + part.item() for name, part in parts.items()}
    return means


def _by_name(sums: torch.Tensor | Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    return {"loss": sums} if isinstance(sums, torch.Tensor) else sums


def _terms(pack: Pack) -> int:
    return sum(sample.terms for sample in pack)

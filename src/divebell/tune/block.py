"""One block of a model trained by itself, to add to the stream what is wanted there: its own weights and no others have
gradients, so that a token costs a hundredth of what it costs when a whole model is trained."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from divebell.ops.batch import Batch
from divebell.tune.optimizer import ADAM, rate_at

PASSES = 2  # over the parts
_PART = 1024  # tokens of a step
_ASIDE = 8  # one part in so many, at least one, tells whether it was worth it


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some texts of those that lie side by side. rows: where they are among all rows."""

    rows: slice
    batch: Batch

    @classmethod
    def of(cls, texts: Sequence[np.ndarray], begin: int = 0) -> "Part":
        batch = Batch.of(list(texts), [0] * len(texts), [[0]] * len(texts))
        return cls(slice(begin, begin + sum(map(len, texts))), batch)


def parts_of(texts: Sequence[np.ndarray]) -> Iterator[Part]:
    """Of _PART tokens or a text more, the last of what is left."""
    begin, own = 0, []
    for text in texts:
        own.append(text)
        if sum(map(len, own)) >= _PART:
            yield Part.of(own, begin)
            begin, own = begin + sum(map(len, own)), []
    if own:
        yield Part.of(own, begin)


def learn(
    block: Callable[[Part], torch.Tensor],
    matrices: Sequence[torch.nn.Parameter],
    wanted: torch.Tensor,
    counts: torch.Tensor,
    parts: Sequence[Part],
    rate: float,
) -> None:
    """Changes the matrices, where that brings `block` nearer on parts that are set aside.

    block: what it adds at a part's rows. wanted: (T, hidden). counts: (T, 1), how much an error of a row counts.
    rate: of a step at its peak, in a matrix's own root mean square.
    """

    def loss(part: Part) -> torch.Tensor:
        away = (block(part) - wanted[part.rows]) * counts[part.rows]
        return away.square().sum(1).mean()

    aside = parts[:: min(_ASIDE, len(parts))]
    known = [part for part in parts if part not in aside] or aside
    before, kept = sum(map(loss, aside)), [matrix.detach().clone() for matrix in matrices]
    _train(loss, matrices, known * PASSES, rate)
    if sum(map(loss, aside)) > before:
        for matrix, own in zip(matrices, kept, strict=True):
            matrix.copy_(own)


def _train(
    loss: Callable[[Part], torch.Tensor], matrices: Sequence[torch.nn.Parameter], parts: Sequence[Part], peak: float
) -> None:
    sizes = [float(matrix.square().mean().sqrt()) for matrix in matrices]
    groups = [{"params": [matrix], "lr": 0.0} for matrix in matrices]
    optimizer = torch.optim.Adam(groups, **ADAM)
    for step, part in enumerate(parts):
        with torch.enable_grad():
            gradients = torch.autograd.grad(loss(part), matrices, allow_unused=True)
        rate = rate_at(step, len(parts), peak)
        for group, matrix, gradient, size in zip(optimizer.param_groups, matrices, gradients, sizes, strict=True):
            group["lr"], matrix.grad = rate * size, gradient
        optimizer.step()
        optimizer.zero_grad()

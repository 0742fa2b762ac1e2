"""Which routed experts a task uses: expert-specialised tuning (ESFT, arXiv 2407.01906, section 3).

An expert's relevance is its token selection ratio: of all choices that a layer's router makes for the rows' tokens, the
share that falls on it. Of each layer the fewest experts are taken whose ratios come to a given sum.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from divebell.models.moe import Moe
from divebell.tune.model import Trainee
from divebell.tune.samples import Sample, packed

SAMPLE = 8192  # tokens that the router is watched over


def experts_of(trainee: Trainee, rows: Sequence[Sample], share: float, pack: int) -> dict[str, list[int]]:
    """By the beginning of a layer's names, such as "layers.3.". rows: run in their order, as many as SAMPLE asks for.

    pack: tokens that are run at once.
    """
    with torch.no_grad(), _counted(trainee.mixtures) as counts:
        for own in packed(_first(rows), pack):
            trainee.hidden([sample.ids for sample in own])
    return {name: fewest(each, share) for name, each in counts.items()}


def fewest(counts: torch.Tensor, share: float) -> list[int]:
    """The fewest experts, ascending, that have at least this share of all. counts: (E,)."""
    order = counts.argsort(descending=True, stable=True)
    reached = counts[order].double().cumsum(0) / counts.sum()
    return sorted(order[: 1 + int((reached < share - 1e-9).sum())].tolist())


def _first(rows: Sequence[Sample]) -> list[Sample]:
    taken, tokens = [], 0
    for row in rows:
        if tokens >= SAMPLE:
            break
        taken.append(row)
        tokens += len(row)
    return taken


@contextmanager
def _counted(mixtures: Mapping[str, Moe]) -> Iterator[dict[str, torch.Tensor]]:
    """While this lasts, how often each expert is chosen: int64 (E,) by layer."""
    counts: dict[str, torch.Tensor] = {}

    def watched(name: str, choose: Any) -> Any:
        def chosen(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            ids, weights = choose(logits)
            counts[name] = counts.get(name, 0) + ids.flatten().bincount(minlength=logits.shape[1])
            return ids, weights

        return chosen

    for name, moe in mixtures.items():
        moe.choose = watched(name, moe.choose)
    try:
        yield counts
    finally:
        for moe in mixtures.values():
            del moe.choose

"""Samples, and the batches that they are trained in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Sample:
    """ids: int32 (T,). trained: bool (T,), the tokens that are to be learned; the first of a text can't be."""

    ids: np.ndarray
    trained: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def learned(self) -> int:
        return int(self.trained[1:].sum())

    @property
    def highest(self) -> int:
        """Of its tokens."""
        return int(self.ids.max())

    @property
    def terms(self) -> int:
        """How many the loss is a mean over."""
        return self.learned


Pack = list[Sample]  # samples that are run side by side, none seeing another


def packed(samples: Sequence[Sample], tokens: int) -> list[Pack]:
    """In as few packs of at most `tokens` as first-fit of the longest first finds; a longer sample has its own.

    Samples of like length so come together, and there is no padding.
    """
    packs: list[Pack] = []
    for sample in sorted(samples, key=len, reverse=True):
        for pack in packs:
            if sum(map(len, pack)) + len(sample) <= tokens:
                pack.append(sample)
                break
        else:
            packs.append([sample])
    return packs


def shuffled(samples: Sequence[Sample], batch: int, seed: int, first: int = 0) -> Iterator[list[Sample]]:
    """Batches without end, from number `first` on: every epoch in an order of its own that seed and epoch tell.

    Each epoch has ceil(len(samples) / batch) of them.
    """
    each = batches_of(len(samples), batch)
    number = first
    while True:
        epoch, within = divmod(number, each)
        order = np.random.default_rng([seed, epoch]).permutation(len(samples))
        yield [samples[i] for i in order[within * batch : (within + 1) * batch]]
        number += 1


def batches_of(samples: int, batch: int) -> int:
    return -(-samples // batch)

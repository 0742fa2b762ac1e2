"""How far one model's predictions are from another's: the Kullback-Leibler divergence, in nats for each token."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from divebell.engine.sampler import log_sums
from divebell.errors import BadInput


class Reader(Protocol):
    def logits(self, token_ids: Sequence[int]) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class Divergence:
    """mean, percentile_99: nats. same_best: share of tokens for which both find the same token likeliest."""

    mean: float
    percentile_99: float
    same_best: float
    tokens: int


def divergence(exact: Reader, other: Reader, texts: Iterable[Sequence[int]]) -> Divergence:
    """Of `other` from `exact`, over every prediction that they make while reading `texts`."""
    nats, same = [], []
    for ids in texts:
        p, q = exact.logits(ids), other.logits(ids)
        nats.append(of_logits(p, q))
        same.append(p.argmax(axis=1) == q.argmax(axis=1))
    if not nats:
        raise BadInput("there is no text to measure the divergence on; give a longer one")
    nats, same = np.concatenate(nats), np.concatenate(same)
    return Divergence(float(nats.mean()), float(np.percentile(nats, 99)), float(same.mean()), len(nats))


def of_logits(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """float64 (n,): sum of P (log P - log Q) of each row, from logits (n, vocabulary)."""
    log_p, log_q = p - log_sums(p)[:, None], q - log_sums(q)[:, None]
    return np.einsum("tv,tv->t", np.exp(log_p), log_p - log_q)

"""95 % intervals of scores, and of the difference of two models that answered the same questions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb, erfc, sqrt

import numpy as np

Z = 1.959963984540054  # the normal distribution's 97.5 % point
_ROUNDS = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """low, high: with 95 % confidence, by `method`."""

    value: float
    low: float
    high: float
    method: str

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


def interval(values: Sequence[float], aggregate: Callable[[Sequence], float] | None = None) -> Interval:
    """Of scores of questions: Wilson's where each is 0 or 1 and their mean is wanted, else a bootstrap.

    aggregate: what makes one figure of them; None: the mean.
    """
    if aggregate is None and all(value in (0, 1) for value in values):
        return wilson(int(sum(values)), len(values))
    return bootstrap(values, aggregate or (lambda some: float(np.mean(some))))


def wilson(right: int, count: int) -> Interval:
    """Of a share (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927): it holds near 0 and 1 and for few questions, too."""
    share, spread = right / count, Z * Z / count
    centre = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * sqrt(share * (1 - share) / count + spread / (4 * count))
    low, high = max(centre - half, 0.0), min(centre + half, 1.0)
    return Interval(share, min(low, share), max(high, share), "Wilson")  # at 0 and 1 they meet, but for rounding


def bootstrap(values: Sequence, aggregate: Callable[[Sequence], float]) -> Interval:
    """Percentiles of the figure over 1,000 draws of as many questions, with replacement (B. Efron, 1979)."""
    random = np.random.Generator(np.random.SFC64(0))
    draws = random.integers(0, len(values), (_ROUNDS, len(values)))
    figures = [aggregate([values[index] for index in draw]) for draw in draws]
    low, high = np.percentile(figures, (2.5, 97.5))
    return Interval(float(aggregate(values)), float(low), float(high), "bootstrap")


@dataclass(frozen=True, slots=True)
class Difference:
    """Of the second model's scores to the first's on the same `questions`. better, worse: questions of either kind.

    p: of a difference at least so large if both were equally good. test: how that was found.
    """

    questions: int
    difference: Interval
    better: int
    worse: int
    p: float
    test: str

    @property
    def differs(self) -> bool:
        return self.p < 0.05


def difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Of paired scores. Where all are 0 or 1: McNemar's exact test (Psychometrika 12, 1947); else a normal one."""
    apart = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    better, worse = int((apart > 0).sum()), int((apart < 0).sum())
    if all(value in (0, 1) for value in (*first, *second)):
        own = matched(better, worse, len(apart))
        return Difference(len(apart), own, better, worse, mcnemar(better, worse), "McNemar, exact")
    mean = float(apart.mean())
    error = float(apart.std()) / sqrt(len(apart))
    own = Interval(mean, mean - Z * error, mean + Z * error, "paired normal")
    p = erfc(abs(mean) / error / sqrt(2)) if error else 1.0
    return Difference(len(apart), own, better, worse, p, "paired normal")


def matched(better: int, worse: int, count: int) -> Interval:
    """Of the difference of two shares on the same questions (A. Agresti and Y. Min, Stat. Med. 24, 2005): half a
    question is added to each of the four kinds. So it has a width even where both are right on the same ones."""
    share, whole = (better - worse) / count, count + 2
    centre = (better - worse) / whole
    half = Z * sqrt(better + worse + 1 - (better - worse) * centre) / whole
    low, high = max(centre - half, -1.0), min(centre + half, 1.0)
    return Interval(share, min(low, share), max(high, share), "Agresti and Min")


def mcnemar(better: int, worse: int) -> float:
    """Two-sided binomial test that of the questions where two models differ, each is right in half of them."""
    apart = better + worse
    tail = sum(comb(apart, k) for k in range(min(better, worse) + 1)) / 2**apart
    return min(1.0, 2 * tail)

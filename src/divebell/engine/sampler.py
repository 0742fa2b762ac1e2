"""Choosing the next token from a row of logits."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log

import numpy as np

from divebell.engine.sampling import Sampling
from divebell.ops import BLOCK, native


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """Natural log-probabilities under the model's own distribution: of the token taken, and of the likeliest ones."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...]


class Sampler:
    """The choices of one request.

    The n-th token is drawn with the n-th number of a counter-based generator (Philox, Salmon et al. 2011) keyed with
    the seed, so a text depends on the seed and the logits alone: not on threads, nor on what else runs in the batch.
    """

    def __init__(self, sampling: Sampling, seed: int, prompt: Sequence[int], vocabulary: int):
        self.sampling, self.seed = sampling, seed
        self._drawn = 0
        self._penalties = _Penalties(sampling, prompt, vocabulary) if _penalises(sampling) else None
        self._bias_ids = np.fromiter(sampling.logit_bias.keys(), np.int64)
        self._bias = np.fromiter(sampling.logit_bias.values(), np.float32)

    def choose(self, logits: np.ndarray, allowed: np.ndarray | None = None) -> int:
        """logits: float32 (vocabulary,), left alone. Returns a token id and remembers it for the penalties.

        allowed: int (n,), ids in ascending order: the others are as if they had no probability at all; None: all are.
        """
        logits = self._adjusted(logits)
        token = self._pick(logits) if allowed is None else int(allowed[self._pick(logits[allowed])])
        self._drawn += 1
        if self._penalties:
            self._penalties.count(token)
        return token

    def _adjusted(self, logits: np.ndarray) -> np.ndarray:
        if self._penalties:
            logits = self._penalties.apply(logits)
        if self._bias.size:
            logits = logits.copy()
            logits[self._bias_ids] += self._bias
        return logits

    def _pick(self, logits: np.ndarray) -> int:
        sampling = self.sampling
        if sampling.temperature == 0 or sampling.top_k == 1:
            return int(logits.argmax())
        if not (sampling.top_k or sampling.top_p < 1 or sampling.min_p):
            return _drawn_from_all(logits, sampling.temperature, self._uniform())
        ids, probabilities = distribution(logits, sampling)
        return int(ids[_drawn(probabilities, self._uniform())[0]])

    def _uniform(self) -> float:
        return np.random.Generator(np.random.Philox(key=self.seed, counter=self._drawn)).random()


def distribution(logits: np.ndarray, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """What temperature, top-k, top-p and min-p leave to draw from: token ids, probabilities (float64, sum 1)."""
    temperature = max(sampling.temperature, _COLDEST)
    if 0 < sampling.top_k < len(logits):
        ids, weights = _top_k(logits, sampling.top_k, temperature)
        kept = _top_p(weights, sampling.top_p, weights.sum(dtype=np.float64))
    elif sampling.top_p < 1:
        ids, weights, total = _heavy(logits, sampling, temperature)
        kept = _top_p(weights, sampling.top_p, total)
    else:
        ids, weights = _above(logits, native.block_maxima(logits), temperature, sampling.min_p)
        kept = slice(None)
    ids, weights = ids[kept], weights[kept]
    if sampling.min_p:
        kept = weights >= np.float32(sampling.min_p)  # the likeliest weighs 1
        ids, weights = ids[kept], weights[kept]
    return ids, weights / weights.sum(dtype=np.float64)


_COLDEST = 1e-6  # a logit 0.001 below the best is then out of float32's range: the same as greedy
_ROUNDING = 1e-6  # more than float32's error in a distance from the best logit, or in a weight


def _top_k(logits: np.ndarray, count: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Ids and weights, relative to the likeliest, of the `count` likeliest tokens and those that tie with the last."""
    maxima = native.block_maxima(logits)
    ids = _likeliest(logits, maxima, count)
    scores = (logits[ids] - maxima.max()) / temperature
    kept = scores >= np.partition(scores, -count)[-count]
    return ids[kept], np.exp(scores[kept])


def _likeliest(logits: np.ndarray, maxima: np.ndarray, count: int) -> np.ndarray:
    """Ids of few tokens among which are the `count` likeliest and their ties.

    As many blocks as that reach the count-th largest maximum, so the count-th largest logit is no smaller.
    """
    if count > len(maxima):
        return np.arange(len(logits))
    least, best = float(np.partition(maxima, -count)[-count]), float(maxima.max())
    return native.at_least(logits, maxima, least - _ROUNDING * (best - least))


def _above(logits: np.ndarray, maxima: np.ndarray, temperature: float, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Ids and weights of all tokens that weigh at least `least`, and maybe of a few that weigh a little less."""
    best = maxima.max()
    depth = temperature * (log(least) * (1 + _ROUNDING) - _ROUNDING) if least else -inf
    ids = native.at_least(logits, maxima, float(best) + depth)
    return ids, np.exp((logits.take(ids) - best) / temperature)


def _heavy(logits: np.ndarray, sampling: Sampling, temperature: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Ids and weights of at least those tokens that top-p and min-p leave, and the weight of all tokens."""
    maxima, sums = native.block_sums(logits, temperature)
    total = float(_relative(maxima, sums, temperature).sum())
    for least in (1e-2, 1e-4, 1e-6, 0):  # few tokens weigh enough to matter
        ids, weights = _above(logits, maxima, temperature, max(least, sampling.min_p))
        if least <= sampling.min_p or weights.sum(dtype=np.float64) >= sampling.top_p * total:
            break
    return ids, weights, total


def _top_p(weights: np.ndarray, top_p: float, total: float) -> np.ndarray | slice:
    """Which weights are the smallest set of heaviest ones with the share `top_p` of `total`; of equal ones, the first.

    Only the weights around the border are sorted: positive numbers lie in the order of their bits.
    """
    if top_p == 1:
        return slice(None)
    wanted = top_p * total
    classes = weights.view(np.int32) >> 19  # sixteen of them an octave
    sums = np.bincount(classes, weights)[::-1].cumsum()
    heavier = min(int(sums.searchsorted(wanted)), len(sums) - 1)
    border = len(sums) - 1 - heavier
    inside = np.flatnonzero(classes == border)
    order = inside[np.argsort(-weights[inside], kind="stable")]
    inner = weights[order].cumsum(dtype=np.float64) + (sums[heavier - 1] if heavier else 0)
    kept = classes > border
    kept[order[: inner.searchsorted(wanted) + 1]] = True
    return np.flatnonzero(kept)


def _drawn_from_all(logits: np.ndarray, temperature: float, uniform: float) -> int:
    """A block is drawn, and a token of it with what that leaves of the random number."""
    temperature = max(temperature, _COLDEST)
    maxima, sums = native.block_sums(logits, temperature)
    block, rest = _drawn(_relative(maxima, sums, temperature), uniform)
    numbers = logits[block * BLOCK :][:BLOCK]
    return block * BLOCK + _drawn(np.exp((numbers - maxima[block]) / temperature), rest)[0]


def _drawn(weights: np.ndarray, uniform: float) -> tuple[int, float]:
    """The index whose share of [0, 1) `uniform` lies in, and how far into that share."""
    sums = weights.cumsum(dtype=np.float64)
    point = uniform * sums[-1]
    index = int(min(sums.searchsorted(point, side="right"), sums.searchsorted(sums[-1])))  # never one that weighs 0
    below = sums[index - 1] if index else 0.0
    return index, float((point - below) / (sums[index] - below))


def _relative(maxima: np.ndarray, sums: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """block_sums as weights relative to the row's best logit, float64."""
    return sums * np.exp((maxima - maxima.max(axis=-1, keepdims=True)) / temperature, dtype=np.float64)


def _penalises(sampling: Sampling) -> bool:
    return (sampling.repetition_penalty, sampling.frequency_penalty, sampling.presence_penalty) != (1, 0, 0)


class _Penalties:
    def __init__(self, sampling: Sampling, prompt: Sequence[int], vocabulary: int):
        self.sampling = sampling
        self.seen = np.zeros(vocabulary, bool)
        self.seen[np.asarray(prompt, np.int64)] = True
        self.counts = np.zeros(vocabulary, np.float32)

    def count(self, token: int) -> None:
        self.seen[token] = True
        self.counts[token] += 1

    def apply(self, logits: np.ndarray) -> np.ndarray:
        logits, sampling = logits.copy(), self.sampling
        seen, answered = np.flatnonzero(self.seen), np.flatnonzero(self.counts > 0)
        penalty = np.float32(sampling.repetition_penalty)
        logits[seen] = np.where(logits[seen] > 0, logits[seen] / penalty, logits[seen] * penalty)
        logits[answered] -= np.float32(sampling.frequency_penalty) * self.counts[answered]
        logits[answered] -= np.float32(sampling.presence_penalty)
        return logits


def log_sums(logits: np.ndarray) -> np.ndarray:
    """log(sum(exp(logits))) over the last axis, float64; exponentials and sums of BLOCK of them are float32."""
    return _log_sums(*native.block_sums(logits))


def _log_sums(maxima: np.ndarray, sums: np.ndarray) -> np.ndarray:
    return maxima.max(axis=-1).astype(np.float64) + np.log(_relative(maxima, sums).sum(axis=-1))


def token_logprob(logits: np.ndarray, token: int, count: int) -> TokenLogprob:
    """The log-probability of `token` and the `count` likeliest tokens, likeliest first, of one row of logits."""
    maxima, sums = native.block_sums(logits)
    total = float(_log_sums(maxima, sums))
    top = _likeliest(logits, maxima, count) if count else np.empty(0, np.int64)
    top = top[np.lexsort((top, -logits[top]))][:count]
    return TokenLogprob(token, float(logits[token]) - total, tuple((int(i), float(logits[i]) - total) for i in top))

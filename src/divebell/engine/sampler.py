"""Choosing the next token from a row of logits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from divebell.engine.sampling import Sampling


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

    def choose(self, logits: np.ndarray) -> int:
        """logits: float32 (vocabulary,), left alone. Returns a token id and remembers it for the penalties."""
        token = self._pick(self._adjusted(logits))
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
        if self.sampling.temperature == 0 or self.sampling.top_k == 1:
            return int(logits.argmax())
        ids, probabilities = distribution(logits, self.sampling)
        sums = probabilities.cumsum(dtype=np.float64)
        chosen = sums.searchsorted(self._uniform() * sums[-1], side="right")
        return int(ids[min(chosen, len(ids) - 1)])

    def _uniform(self) -> float:
        return np.random.Generator(np.random.Philox(key=self.seed, counter=self._drawn)).random()


def distribution(logits: np.ndarray, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """What temperature, top-k, top-p and min-p leave to draw from: token ids, probabilities (float64, sum 1)."""
    scores = (logits - logits.max()) / max(sampling.temperature, _COLDEST)
    ids = np.arange(len(scores))
    if 0 < sampling.top_k < len(scores):
        kept = scores >= np.partition(scores, -sampling.top_k)[-sampling.top_k]
        ids, scores = ids[kept], scores[kept]
    weights = np.exp(scores)
    if sampling.top_p < 1:
        kept = _top_p(weights, sampling.top_p)
        ids, weights = ids[kept], weights[kept]
    if sampling.min_p:
        kept = weights >= np.float32(sampling.min_p)  # the likeliest weighs 1
        ids, weights = ids[kept], weights[kept]
    return ids, weights / weights.sum(dtype=np.float64)


_COLDEST = 1e-6  # a logit 0.001 below the best is then out of float32's range: the same as greedy


def _top_p(weights: np.ndarray, top_p: float) -> np.ndarray:
    """Indices, rising, of the smallest set of heaviest weights that holds the share `top_p` of their sum."""
    wanted = top_p * weights.sum(dtype=np.float64)
    for least in (1e-2, 1e-4, 0):  # few tokens weigh enough to matter: sorting those first saves sorting them all
        heavy = np.flatnonzero(weights >= least)
        order = heavy[np.argsort(-weights[heavy], kind="stable")]
        sums = weights[order].cumsum(dtype=np.float64)
        if sums[-1] >= wanted:
            break
    return np.sort(order[: int(sums.searchsorted(wanted)) + 1])


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
        penalty = np.float32(self.sampling.repetition_penalty)
        repeated = np.where(logits > 0, logits / penalty, logits * penalty)
        logits = np.where(self.seen, repeated, logits)
        logits -= np.float32(self.sampling.frequency_penalty) * self.counts
        logits -= np.float32(self.sampling.presence_penalty) * (self.counts > 0)
        return logits


def log_sums(logits: np.ndarray) -> np.ndarray:
    """log(sum(exp(logits))) over the last axis, float64; the exponentials are float32, their sum float64."""
    top = logits.max(axis=-1, keepdims=True)
    return top[..., 0].astype(np.float64) + np.log(np.exp(logits - top).sum(axis=-1, dtype=np.float64))


def token_logprob(logits: np.ndarray, token: int, count: int) -> TokenLogprob:
    """The log-probability of `token` and the `count` likeliest tokens, likeliest first, of one row of logits."""
    total = float(log_sums(logits))
    top = np.argpartition(logits, -count)[-count:] if count else np.empty(0, np.int64)
    top = top[np.lexsort((top, -logits[top]))]
    return TokenLogprob(token, float(logits[token]) - total, tuple((int(i), float(logits[i]) - total) for i in top))

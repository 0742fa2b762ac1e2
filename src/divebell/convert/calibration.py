"""What attention does while a model reads: what flows in, and which errors of scores and values would be felt."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from divebell.convert.grouped import Source
from divebell.convert.reading import read
from divebell.engine.pace import STEP_TOKENS


@dataclass(slots=True)
class Statistics:
    """Of one layer; sums over `tokens`.

    moments: float64 (hidden + 1, hidden + 1), of [x, 1] [x, 1]^T.
    felt: float64 (heads, STEP_TOKENS): by the distance from query to key, the squared change of the layer's output for
    a change of one score by one, p^2 |W_o (v - o)|^2.
    alone, mixed: float64 (heads,), the squared deviation of W_o v before and after attention has averaged it.
    energy: of the output, W_o o, heads taken apart.
    """

    moments: np.ndarray
    felt: np.ndarray
    alone: np.ndarray
    mixed: np.ndarray
    tokens: int = 0
    energy: float = 0.0

    @property
    def covariance(self) -> np.ndarray:
        return self.moments / self.tokens

    @property
    def score_weights(self) -> np.ndarray:
        """float64 (heads,): squared change of the output for independent changes of all scores by one."""
        return self.felt.sum(axis=1) / self.tokens

    @property
    def value_weights(self) -> np.ndarray:
        """float64 (heads,): what share of values' deviation is left when attention has averaged them."""
        return self.mixed / np.maximum(self.alone, 1e-30)

    def turned(self, frequencies: np.ndarray) -> np.ndarray:
        """complex128 (heads, frequencies): RoPE's turn from key to query, on the average where scores are felt."""
        angles = np.arange(self.felt.shape[1])[:, None] * frequencies[None].astype(np.float64)
        return self.felt @ np.exp(1j * angles) / np.maximum(self.felt.sum(axis=1, keepdims=True), 1e-30)


class _Watch:
    """The ops of a model, noting the inputs of `attention` and of the three products before it."""

    def __init__(self, ops: Any, source: Source):
        config = source.config
        self._raw, self._group = ops, config.heads // config.groups
        self.ops = SimpleNamespace(**(vars(ops) | {"linears": self._linears, "attention": self._attention}))
        outputs = (source.output(layer).transpose(1, 2, 0) for layer in range(config.layers))
        self._metrics = [o @ o.transpose(0, 2, 1) for o in outputs]  # (heads, head_dim, head_dim)
        self.layers = [_nothing(config.hidden, config.heads) for _ in range(config.layers)]
        self._layer = 0

    def _linears(self, x: np.ndarray, weights: Sequence[Any], biases: Sequence | None = None) -> list[np.ndarray]:
        if len(weights) == 3:  # queries, keys, values
            own = self.layers[self._layer]
            wide = np.column_stack([x, np.ones(len(x), np.float32)])
            own.moments += wide.T @ wide
            own.tokens += len(x)
        return self._raw.linears(x, weights, biases)

    def _attention(self, q: np.ndarray, k: np.ndarray, v: np.ndarray, *more: Any) -> np.ndarray:
        scale = more[2]
        keys, values = (np.repeat(x.transpose(1, 0, 2), self._group, axis=0) for x in (k, v))
        self._note(_probabilities(q.transpose(1, 0, 2), keys, scale), values)
        self._layer = (self._layer + 1) % len(self.layers)
        return self._raw.attention(q, k, v, *more)

    def _note(self, p: np.ndarray, values: np.ndarray) -> None:
        """p: (heads, T, T). values: (heads, T, head_dim)."""
        own, metric = self.layers[self._layer], self._metrics[self._layer]
        mixed, seen = p @ values, values @ metric
        own_size, mixed_size = (seen * values).sum(-1), ((mixed @ metric) * mixed).sum(-1)
        away = own_size[:, None] - 2 * mixed @ seen.transpose(0, 2, 1) + mixed_size[..., None]
        own.felt += _by_distance(p * p * np.maximum(away, 0), own.felt.shape[1])
        mean = values.mean(axis=1, keepdims=True)
        for total, x in ((own.alone, values - mean), (own.mixed, mixed - mean)):
            total += ((x @ metric) * x).sum((1, 2))
        own.energy += float(mixed_size.sum())


def _nothing(hidden: int, heads: int) -> Statistics:
    sums = np.zeros((hidden + 1, hidden + 1)), np.zeros((heads, STEP_TOKENS)), np.zeros(heads), np.zeros(heads)
    return Statistics(*sums)


def _probabilities(q: np.ndarray, k: np.ndarray, scale: float) -> np.ndarray:
    scores = q @ k.transpose(0, 2, 1) * np.float32(scale)
    scores[:, np.triu(np.ones(scores.shape[1:], bool), 1)] = -np.inf
    p = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def _by_distance(amounts: np.ndarray, length: int) -> np.ndarray:
    """(heads, T, T) -> (heads, length): sums of each diagonal from the main one down."""
    places = np.arange(amounts.shape[1])
    distance = np.maximum(places[:, None] - places, 0).ravel()  # above the diagonal all is zero
    return np.stack([np.bincount(distance, own.ravel(), length) for own in amounts])


def calibrate(source: Source, texts: Sequence[Sequence[int]]) -> list[Statistics]:
    """Of each layer, while the model reads texts of at most STEP_TOKENS tokens from its weights as stored."""
    from divebell.ops import native

    watch = _Watch(native, source)
    read(source, watch.ops, texts)
    return watch.layers

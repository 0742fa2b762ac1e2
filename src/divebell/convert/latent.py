"""What does not keep RoPE, and all values, from one latent: the joint factorisation that loses least of the output.

Every error counts by what it does to the layer's output: of a key by the queries that ask for it, of a value by W_o.
The mean is not factorised: a number of the latent that is always the same carries it.
"""

from dataclasses import dataclass

import numpy as np

from divebell.convert.calibration import Statistics
from divebell.convert.grouped import Grouped
from divebell.convert.rotary import Components

_LEAST = 1e-4  # of a direction's weight, in the average one's


@dataclass(frozen=True, slots=True)
class Factors:
    """down: float64 (rank, hidden + 1), of [x, 1]. up: (groups, 2 * still + head_dim, rank), keys before values.

    mean: (groups, 2 * still + head_dim), added to what comes up. still: frequencies that have parts without RoPE; at
    least one. loss: of the squared output, by what is left out.
    """

    down: np.ndarray
    up: np.ndarray
    mean: np.ndarray
    still: np.ndarray
    loss: float


def factorise(
    attention: Grouped, found: Components, statistics: Statistics, counts: np.ndarray, rank: int, scale: float
) -> Factors:
    """counts: components that keep RoPE, of each frequency."""
    still = np.flatnonzero(counts < len(attention.k))
    still = still if len(still) else np.array([0])
    rows = np.concatenate([_keys_left(found, counts, still), attention.v], axis=1)
    groups, each, _ = rows.shape
    roots, inverses = _roots(_metrics(attention, found, statistics, still, scale))
    weighted = (roots @ rows).reshape(groups * each, -1)
    mean = statistics.covariance[:, -1]
    centred = statistics.covariance - np.outer(mean, mean)
    values, vectors = np.linalg.eigh(weighted @ centred @ weighted.T)
    values, vectors = values[::-1].clip(0), vectors[:, ::-1][:, :rank]
    down = vectors.T @ weighted
    down[:, -1] -= down @ mean
    up = inverses @ vectors.reshape(groups, each, -1)
    return Factors(down, up, rows @ mean, still, float(values[rank:].sum()))


def real(pairs: np.ndarray) -> np.ndarray:
    """(..., n, columns) complex -> (..., 2 n, columns): products of such rows are the real parts of conj(a) b."""
    return np.concatenate([pairs.real, pairs.imag], axis=-2)


def still_queries(attention: Grouped, found: Components, still: np.ndarray) -> np.ndarray:
    """complex (heads, still, columns): turned once and for all by what RoPE would have turned them on the average."""
    return attention.q[:, still] * found.turned[:, still, None]


def _keys_left(found: Components, counts: np.ndarray, still: np.ndarray) -> np.ndarray:
    kept = np.arange(found.keys.shape[1]) < counts[still, None]
    parts = np.where(kept[:, None], 0, found.parts[still])
    return real((parts @ found.keys[still]).transpose(1, 0, 2))


def _metrics(
    attention: Grouped, found: Components, statistics: Statistics, still: np.ndarray, scale: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each group: of keys, and of values."""
    queries = real(still_queries(attention, found, still))
    asked = scale**2 * queries @ statistics.covariance @ queries.transpose(0, 2, 1)
    told = np.einsum("dhi,dhj->hij", attention.o, attention.o, dtype=np.float64)
    of_heads = statistics.score_weights[:, None, None] * asked, statistics.value_weights[:, None, None] * told
    return list(zip(*(m.reshape(len(attention.k), -1, *m.shape[1:]).sum(axis=1) for m in of_heads), strict=True))


def _roots(metrics: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Of each group's two metrics side by side: the square root, and its inverse."""
    sizes = [len(part) for part in metrics[0]]
    roots, inverses = np.zeros((2, len(metrics), sum(sizes), sum(sizes)))
    least = _LEAST**2 * max(np.trace(part) / len(part) for parts in metrics for part in parts)
    for group, parts in enumerate(metrics):
        begin = 0
        for part in parts:
            values, vectors = np.linalg.eigh(part)
            root = np.sqrt(values.clip(max(_LEAST * values.mean(), least)))
            own = slice(begin, begin + len(part))
            roots[group, own, own] = (vectors * root) @ vectors.T
            inverses[group, own, own] = (vectors / root) @ vectors.T
            begin += len(part)
    return roots, inverses

"""Which parts of the keys keep RoPE. All heads share them in MLA, so each is a mixture of all groups' keys.

Numbers that turn at one speed may be mixed by any complex matrix, before RoPE or after it. So for each frequency the
groups' keys are turned to principal components (as TransMLA's RoRoPE does with real rotations, arXiv 2502.07864), and
each component is judged by what the output would lose if it did not turn.
"""

from dataclasses import dataclass

import numpy as np

from divebell.convert.calibration import Statistics
from divebell.convert.grouped import Grouped

_LEAST = 1e-3  # of a group's weight, in the average group's: so that what is mixed can be told apart again


@dataclass(frozen=True, slots=True)
class Components:
    """Of one layer.

    keys: complex128 (pairs, groups, hidden + 1), for each frequency the components, largest first.
    parts: complex128 (pairs, groups, components), how much of each is in a group's key.
    losses: float64 (pairs, components), of the squared output, if one did not turn.
    turned: complex128 (heads, pairs), see Statistics.
    """

    keys: np.ndarray
    parts: np.ndarray
    losses: np.ndarray
    turned: np.ndarray


def components(attention: Grouped, statistics: Statistics, frequencies: np.ndarray, scale: float) -> Components:
    covariance, turned = statistics.covariance, statistics.turned(frequencies)
    asked = np.einsum("hjn,nm,hjm->hj", attention.q, covariance, attention.q.conj(), optimize=True).real
    lost = statistics.score_weights[:, None] * scale**2 * asked * (1 - abs(turned) ** 2).clip(0) / 2
    weights = lost.reshape(len(attention.k), -1, lost.shape[1]).sum(axis=1).T  # (pairs, groups)
    sizes = np.sqrt(weights + _LEAST * weights.mean(axis=1, keepdims=True) + 1e-30)
    keys = attention.k.transpose(1, 0, 2) * sizes[..., None]
    values, vectors = np.linalg.eigh(keys @ covariance @ keys.conj().transpose(0, 2, 1))
    values, vectors = values[:, ::-1].clip(0), vectors[..., ::-1]
    return Components(vectors.conj().transpose(0, 2, 1) @ keys, vectors / sizes[..., None], values, turned)


def counts(losses: np.ndarray, pairs: int) -> np.ndarray:
    """int (frequencies,): how many components of each keep RoPE, where `pairs` do; the same in every layer.

    losses: (frequencies, components), each row falling.
    """
    chosen = np.argsort(-losses, axis=None, kind="stable")[:pairs]
    return np.bincount(chosen // losses.shape[1], minlength=len(losses))

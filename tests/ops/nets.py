"""Gated feed-forward nets in stored formats, and their float64 value under the int8 scheme."""

import numpy as np
import stored

from divebell.weights.formats import BY_NAME

PAIRS = [("F32", "F32"), ("Q4_0", "Q4_0"), ("Q4_1", "Q8_0"), ("Q4_K", "Q6_K"), ("F16", "Q5_0"), ("MXFP4", "BF16")]


def net(gate: str, down: str, d: int, width: int, seed: int = 0):
    shapes = [(gate, width, d), (gate, width, d), (down, d, width)]
    return [stored.random_tensor(BY_NAME[name], *shape, seed + i) for i, (name, *shape) in enumerate(shapes)]


def exact(x: np.ndarray, gate, up, down) -> np.ndarray:
    g, u = stored.product(x, gate), stored.product(x, up)
    return stored.product((g / (1 + np.exp(-g)) * u).astype(np.float32), down)


def close(y: np.ndarray, expected: np.ndarray) -> None:
    """A hidden number within float32 noise of a half may round the other way: one int8 step of one group of 32."""
    assert np.abs(y - expected).max() <= 2e-3 * np.abs(expected).max()
    assert np.sqrt(np.mean((y - expected) ** 2)) <= 2e-4 * np.sqrt(np.mean(expected**2))

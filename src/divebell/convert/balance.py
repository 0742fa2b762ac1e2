"""Numbers of one size on both sides of a product: queries and keys, what goes into the latent and what comes out.

Any of them may be scaled where the other is scaled back. What is far apart in size can't be trained with one rate, as
an optimizer like Adam moves all numbers by the same, and is the worse for blocks of few bits.
"""

from collections.abc import Mapping

import numpy as np

from divebell.convert.shape import Shape

_ROUNDS = 3  # as a key's rows have a part in two products


def balanced(values: Mapping[str, np.ndarray], heads: int, nope: int, shape: Shape) -> dict[str, np.ndarray]:
    """values: a layer's attention by own name. Returns them scaled by powers of two, which changes no product."""
    queries = "q" if "q" in values else "q_b"
    asked = values[queries].reshape(heads, -1, values[queries].shape[1]).copy()
    told = values["kv_b"].reshape(heads, -1, shape.rank).copy()
    down = np.column_stack([values["kv_a"], values["kv_a_bias"]])
    latents, turning = down[: shape.rank - 1], down[shape.rank :]  # the last latent is constant
    for _ in range(_ROUNDS):
        scale = _between(_size(latents[:, :-1], 1), _size(told[..., :-1], (0, 1)))
        latents /= scale[:, None]
        told[..., :-1] *= scale
        scale = _between(_size(asked[:, :nope], 2), _size(told[:, :nope], 2))[..., None]
        asked[:, :nope] /= scale
        told[:, :nope] *= scale
        pairs = asked[:, nope:].reshape(heads, shape.pairs, -1), turning[:, :-1].reshape(shape.pairs, -1)
        scale = np.repeat(_between(_size(pairs[0], (0, 2)), _size(pairs[1], 1)), 2)[:, None]
        asked[:, nope:] /= scale
        turning *= scale
    made = {queries: asked.reshape(values[queries].shape), "kv_b": told.reshape(values["kv_b"].shape)}
    return dict(values) | made | {"kv_a": down[:, :-1], "kv_a_bias": down[:, -1]}


def _size(numbers: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    return np.sqrt((numbers**2).mean(axis=axis))


def _between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """What one is divided by and the other multiplied with, so that both are of a size; 1 where one of them is zero."""
    ratio = np.divide(one, other, out=np.ones_like(one), where=(one > 0) & (other > 0))
    return 2.0 ** np.round(np.log2(np.where(ratio > 0, ratio, 1)) / 2)

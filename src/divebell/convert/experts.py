"""The neurons of a dense feed-forward block divided among routed experts and a shared one, and a router between them.

What is most active is shared; the rest is grouped by when it is active, in groups of one size (as MoEfication, arXiv
2110.01786, and CMoE, arXiv 2502.04416, do). The router is a regression: from what goes into the block to how much each
expert would add. With all experts chosen the block is what it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from divebell.config import plural
from divebell.convert.grouped import Source
from divebell.convert.reading import read
from divebell.errors import BadInput
from divebell.models.parameter import PARTS

STEP = 16  # an expert's neurons are a multiple of it, as the kernels like them
_SHARED = 0.25  # of all neurons
_ACTIVE = 0.5
_SPREAD = 2.0**-12  # of the router's logits: what an expert counts, twice the sigmoid, is then 1 to some 1e-4
_RIDGE = 1e-3
_ROUNDS = 5  # of grouping
_SEEN = 2048  # tokens that neurons are grouped by


@dataclass(frozen=True, slots=True)
class Division:
    """Of a block's neurons into equal pieces: some make the shared expert, the others are routed ones, each."""

    shared: int
    routed: int
    chosen: int
    width: int

    @property
    def pieces(self) -> int:
        return self.shared + self.routed

    @property
    def active(self) -> float:
        """The share of neurons that a token passes."""
        return (self.shared + self.chosen) / self.pieces


def division(width: int, pieces: int) -> Division:
    """A quarter is shared, and of the rest as many are chosen that half are active. BadInput where that can't be."""
    possible = [n for n in range(4, width // STEP + 1, 2) if width % (n * STEP) == 0]
    if pieces not in possible:
        known = ", ".join(map(str, possible)) or "none"
        raise BadInput(
            f"experts is {pieces}; it must divide the {plural(width, 'neuron')} of a layer into an even number of "
            f"pieces, 4 or more, of a multiple of {STEP} each: {known}"
        )
    shared = int(pieces * _SHARED)
    return Division(shared, pieces - shared, int(pieces * _ACTIVE) - shared, width // pieces)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Of one layer. order: int (neurons,), the shared ones first, then expert after expert.

    router: float32 (routed, hidden). bias: float32 (routed,), of the choice.
    """

    order: np.ndarray
    router: np.ndarray
    bias: np.ndarray


def mlp_inputs(source: Source, texts: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """What goes into the feed-forward block of each layer while the model reads texts, float16 (tokens, hidden)."""
    from divebell.ops import native

    seen: list[np.ndarray] = []

    def swiglu(x: np.ndarray, *weights: Any) -> np.ndarray:
        seen.append(x.astype(np.float16))
        return native.swiglu(x, *weights)

    read(source, SimpleNamespace(**(vars(native) | {"swiglu": swiglu})), texts)
    layers = source.config.layers
    return [np.concatenate(seen[index::layers]) for index in range(layers)]


def mixture(x: np.ndarray, block: Sequence[np.ndarray], divided: Division) -> Mixture:
    """x: (tokens, hidden). block: its PARTS, float32."""
    x = x.astype(np.float32)
    gate, up, down = block
    hidden = _neurons(x, gate, up)
    active = abs(hidden) * np.linalg.norm(down, axis=0)
    order = np.argsort(-active.mean(axis=0), kind="stable")
    shared, rest = np.split(order, [divided.shared * divided.width])
    groups = grouped(active[:: max(1, len(x) // _SEEN), rest].T, divided.routed)
    routed = [rest[groups == expert] for expert in range(divided.routed)]
    added = np.stack([np.linalg.norm(hidden[:, own] @ down[:, own].T, axis=1) for own in routed], axis=1)
    return Mixture(np.concatenate([shared, *routed]), *_router(x, added))


def _neurons(x: np.ndarray, gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    """(tokens, neurons)"""
    from divebell.ops import reference

    return reference.gated(x @ gate.T, x @ up.T)


def grouped(active: np.ndarray, count: int) -> np.ndarray:
    """int (neurons,): `count` groups of one size, of those that are active together. active: (neurons, tokens).

    k-means of directions, from centres far from each other, in which the closest pairs of neuron and centre come first.
    """
    directions = active / np.maximum(np.linalg.norm(active, axis=1, keepdims=True), 1e-12)
    centres = _far_apart(directions, count)
    for _ in range(_ROUNDS):
        groups = _assigned(directions @ centres.T)
        centres = np.stack([directions[groups == own].mean(axis=0) for own in range(count)])
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    return groups


def _far_apart(directions: np.ndarray, count: int) -> np.ndarray:
    chosen = [int((directions @ directions.mean(axis=0)).argmax())]
    nearest = directions @ directions[chosen[0]]
    while len(chosen) < count:
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, directions @ directions[chosen[-1]])
    return directions[chosen]


def _assigned(likeness: np.ndarray) -> np.ndarray:
    """likeness: (neurons, groups)."""
    neurons, count = likeness.shape
    groups, room = np.full(neurons, -1), np.full(count, neurons // count)
    for place in np.argsort(-likeness, axis=None, kind="stable").tolist():
        neuron, group = divmod(place, count)
        if groups[neuron] < 0 and room[group]:
            groups[neuron] = group
            room[group] -= 1
    return groups


def _router(x: np.ndarray, added: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A ridge regression of what each expert adds, (tokens, experts), scaled so that logits deviate by _SPREAD.

    A constant can't be in the logits; in the bias it counts a quarter, as the sigmoid rises by a quarter at 0.
    """
    mean, average = x.mean(axis=0), added.mean(axis=0)
    centred = (x - mean).astype(np.float64)
    moments = centred.T @ centred
    moments[np.diag_indices_from(moments)] += _RIDGE * np.trace(moments) / len(moments)
    weights = np.linalg.solve(moments, centred.T @ (added - average))  # (hidden, experts)
    size = _SPREAD / max(float((centred @ weights).std()), 1e-12)
    bias = (average - mean @ weights) * size / 4
    return (weights.T * size).astype(np.float32), (bias - bias.mean()).astype(np.float32)


class Mixtures:
    """A model's blocks, layer by layer. Raises BadInput for a number of pieces that can't be."""

    def __init__(self, source: Source, texts: Sequence[Sequence[int]], pieces: int):
        self.division = division(source.config.width, pieces)
        self._source, self._inputs = source, mlp_inputs(source, texts)

    def layer(self, index: int) -> dict[str, np.ndarray]:
        """float32, by the own names of deepseek_v3's parameters."""
        block = [self._source.stored(f"layers.{index}.mlp.{part}").f32() for part in PARTS]
        parts = parts_of(block, mixture(self._inputs[index], block, self.division), self.division)
        return {f"layers.{index}.{name}": values for name, values in parts.items()}

    def configuration(self) -> dict[str, Any]:
        """Of config.json. An expert counts 2 sigmoid(logit), which is 1 where the logit is 0."""
        return {
            "n_routed_experts": self.division.routed,
            "n_shared_experts": self.division.shared,
            "num_experts_per_tok": self.division.chosen,
            "moe_intermediate_size": self.division.width,
            "first_k_dense_replace": 0,
            "moe_layer_freq": 1,
            "n_group": 1,
            "topk_group": 1,
            "scoring_func": "sigmoid",
            "topk_method": "noaux_tc",
            "norm_topk_prob": False,
            "routed_scaling_factor": 2.0,
        }


def parts_of(values: Sequence[np.ndarray], found: Mixture, divided: Division) -> dict[str, np.ndarray]:
    """By own name within a layer, of a block's PARTS: "experts.gate" (routed, width, hidden) and so on."""
    named = {"router": found.router, "router_bias": found.bias}
    for part, whole in zip(PARTS, values, strict=True):
        rows = (whole.T if part == "down" else whole)[found.order]  # (neurons, hidden)
        shared, routed = np.split(rows, [divided.shared * divided.width])
        routed = routed.reshape(divided.routed, divided.width, -1)
        named[f"shared_experts.{part}"] = shared.T if part == "down" else shared
        named[f"experts.{part}"] = routed.transpose(0, 2, 1) if part == "down" else routed
    return named

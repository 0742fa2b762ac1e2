"""The residual stream of a model on many texts, and the blocks that add to it one after the other, part by part."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch.nn import functional

from divebell.models.moe import Moe
from divebell.ops.torch import Weight
from divebell.tune.block import Part, parts_of
from divebell.tune.model import Trainee


class Stream:
    """state: float32 (T, hidden), of all texts side by side."""

    def __init__(self, trainee: Trainee, texts: Sequence[np.ndarray]):
        self.trainee, self.parts = trainee, list(parts_of(texts))
        self.state = torch.cat([trainee.model.begin(part.batch) for part in self.parts])

    def pass_on(self, block: "Attention | FeedForward") -> None:
        """Through a block of its own."""
        self.state = self.state + torch.cat([block(part) for part in self.parts])


class Attention:
    """last: the matrices that end it. rate: at which it learns by itself, see `block.learn`."""

    kinds: tuple[str, ...] = ("attention",)
    rate = 0.01

    def __init__(self, stream: Stream, index: int):
        self.stream, self.index = stream, index
        self._layer = stream.trainee.model.layers[index]
        self.last = [stream.trainee.weights[f"layers.{index}.o"]]

    def __call__(self, part: Part, state: torch.Tensor | None = None) -> torch.Tensor:
        """What it adds at a part's rows, (T, hidden), of its own stream or another state."""
        pages = dict.fromkeys(self.stream.trainee.model.cache_layout[self.index])
        return self._layer.attend(_normed(self._layer.attention_norm, self.stream, part, state), part.batch, pages)

    def entered(self, part: Part) -> tuple[torch.Tensor, torch.Tensor]:
        """What it adds, and what goes into its last matrices, side by side, (T, columns)."""
        with _noted(self.last) as inputs:
            added = self(part)
        return added, inputs[self.last[0]]


class FeedForward:
    """last: the matrices that end it; of a mixture, every expert's."""

    kinds = ("mlp", "experts", "shared_experts")
    rate = 0.02

    def __init__(self, stream: Stream, index: int):
        self.stream, self.index = stream, index
        self._layer = stream.trainee.model.layers[index]
        weights, block = stream.trainee.weights, f"layers.{index}."
        self._experts = weights.get(f"{block}experts.down", [])
        others = (f"{block}mlp.down", f"{block}shared_experts.down")
        self.last = [*self._experts, *(weights[name] for name in others if name in weights)]

    def __call__(self, part: Part, state: torch.Tensor | None = None) -> torch.Tensor:
        return self._layer.mlp(_normed(self._layer.mlp_norm, self.stream, part, state))

    def entered(self, part: Part) -> tuple[torch.Tensor, torch.Tensor]:
        """As `Attention.entered`; into an expert goes of every token as much as it counts there."""
        with _noted(self.last) as inputs, _chosen(self._layer.mlp) as choices:
            added = self(part)
        for ids, counted in choices:
            for number, expert in enumerate(self._experts):
                inputs[expert] = _placed(inputs.get(expert), ids == number, counted, expert.shape[1])
        return added, torch.cat([inputs[weight] for weight in self.last], 1)


Block = Attention | FeedForward


def matrices(block: Block) -> list[torch.nn.Parameter]:
    """Those of a block that are trained."""
    own = block.stream.trainee
    layer = f"layers.{block.index}."
    names = [n for n in own.weights if n.startswith(layer) and own.parameters[n].kind in block.kinds]
    weights = [w for name in names for w in _listed(own.weights[name])]
    return [weight.dense for weight in weights if weight.dense is not None]


def _listed(weights: Weight | list[Weight]) -> list[Weight]:
    return weights if isinstance(weights, list) else [weights]


def _normed(norm: torch.Tensor, stream: Stream, part: Part, state: torch.Tensor | None) -> torch.Tensor:
    rows = (stream.state if state is None else state)[part.rows]
    return functional.rms_norm(rows, norm.shape, norm, stream.trainee.config.eps)


def _placed(entered: torch.Tensor | None, chosen: torch.Tensor, counted: torch.Tensor, columns: int) -> torch.Tensor:
    """What entered an expert, (its tokens, columns), at its tokens' rows of all; chosen, counted: (T, k)."""
    whole = torch.zeros(len(chosen), columns)
    tokens, slots = chosen.nonzero(as_tuple=True)
    if entered is not None:
        whole[tokens] = entered * counted[tokens, slots, None]
    return whole


@contextmanager
def _noted(weights: Sequence[Weight]) -> Iterator[dict[Weight, torch.Tensor]]:
    """What goes into matrices while this lasts, of each (T, columns)."""
    inputs: dict[Weight, torch.Tensor] = {}

    def note(weight: Weight):
        def nothing(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            inputs[weight] = x
            return y

        return nothing

    for weight in weights:
        weight.adapter = note(weight)
    try:
        yield inputs
    finally:
        for weight in weights:
            weight.adapter = None


@contextmanager
def _chosen(mlp: object) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Experts and what they count, of each time that a mixture is asked while this lasts; nothing of another block."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    if not isinstance(mlp, Moe):
        yield seen
        return
    choose = mlp.choose

    def noted(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(choose(logits))
        return seen[-1]

    mlp.choose = noted
    try:
        yield seen
    finally:
        mlp.choose = choose

"""A student brought near its teacher layer by layer, without a backward pass through the model: a block that is not the
teacher's is trained by itself, and then, as for all others, least squares for the matrices that end it.

Both have layers of the same number and width. What the student's stream should be after a block is the teacher's there,
so that what has gone astray before is made good too, as methods do that prune from layer to layer (SparseGPT, arXiv
2301.00774).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch.nn import functional

from divebell.models.moe import Moe
from divebell.ops.torch import Weight
from divebell.tune.block import Part, learn, parts_of
from divebell.tune.model import Trainee
from divebell.tune.walk import Distances, Walk

DAMPINGS = (1e-3, 1e-2, 1e-1, 1.0)  # of the change, in mean squares of what goes in
_SAME = 1e-3  # of a block's output, squared: as far as blocks of bits and the last digits may lead away
_ASIDE = 0.25  # of the tokens, which tell the damping
_FEED = ("mlp", "experts", "shared_experts")


class _Stream:
    """state: float32 (T, hidden), of all texts side by side."""

    def __init__(self, trainee: Trainee, texts: Sequence[np.ndarray]):
        self.trainee, self.whole, self.parts = trainee, Part.of(texts), list(parts_of(texts))
        self.state = trainee.model.begin(self.whole.batch)

    def attended(self, index: int, part: Part | None = None, state: torch.Tensor | None = None) -> torch.Tensor:
        """What attention adds to a part's rows of its own state or another; by default to all of its own."""
        layer, part = self.trainee.model.layers[index], part or self.whole
        pages = dict.fromkeys(self.trainee.model.cache_layout[index])
        return layer.attend(self._normed(layer.attention_norm, part, state), part.batch, pages)

    def fed(self, index: int, part: Part | None = None, state: torch.Tensor | None = None) -> torch.Tensor:
        """What the feed-forward block adds."""
        layer, part = self.trainee.model.layers[index], part or self.whole
        return layer.mlp(self._normed(layer.mlp_norm, part, state))

    def matrices(self, index: int, kinds: Sequence[str] = ("attention", *_FEED)) -> list[torch.nn.Parameter]:
        """Those that are trained, of one layer."""
        own = self.trainee
        names = [n for n in own.weights if n.startswith(f"layers.{index}.") and own.parameters[n].kind in kinds]
        weights = [w for name in names for w in _listed(own.weights[name])]
        return [weight.dense for weight in weights if weight.dense is not None]

    def _normed(self, norm: torch.Tensor, part: Part, state: torch.Tensor | None) -> torch.Tensor:
        rows = (self.state if state is None else state)[part.rows]
        return functional.rms_norm(rows, norm.shape, norm, self.trainee.config.eps)


def _listed(weights: Weight | list[Weight]) -> list[Weight]:
    return weights if isinstance(weights, list) else [weights]


@torch.no_grad()
def follow(
    student: Trainee, teacher: Trainee, texts: Sequence[np.ndarray], walk: Walk | None = None
) -> Iterator[Distances]:
    """Changes the student's matrices, which are trained ones. Of each layer: how far the stream is from the teacher's
    at its end, squared and as a part of it, before its feed-forward block is fitted and after.

    walk: where it goes on if it was broken off; layers that are done are told again.
    """
    own, right = _Stream(student, texts), _Stream(teacher, texts)
    told, states = walk.restore(own.matrices) if walk else ([], {})
    if states:
        own.state, right.state = states["own"], states["right"]
    yield from told
    for index in range(len(told), student.config.layers):
        _attention(own, right, index)
        told.append(_feed_forward(own, right, index))
        if walk:
            walk.save(told, own.matrices(index), own.state, right.state)
        yield told[-1]


def _attention(own: _Stream, right: _Stream, index: int) -> None:
    cut = _differ(own.attended, right.attended, index, right)
    right.state = right.state + right.attended(index)
    if cut:
        _learn(own, own.attended, index, ("attention",), right.state)
    with _noted([own.trainee.weights[f"layers.{index}.o"]]) as inputs:
        added = own.attended(index)
    own.state = own.state + added + _fit(inputs, right.state - own.state - added, right.state)


def _feed_forward(own: _Stream, right: _Stream, index: int) -> Distances:
    cut = _differ(own.fed, right.fed, index, right)
    right.state = right.state + right.fed(index)
    if cut:
        _learn(own, own.fed, index, _FEED, right.state)
    added, inputs = _fed(own, index)
    before = own.state + added
    own.state = before + _fit(inputs, right.state - before, right.state)
    return _distance(before, right.state), _distance(own.state, right.state)


Block = Callable[..., torch.Tensor]  # of a stream, "attended" or "fed"


def _differ(own: Block, right: Block, index: int, stream: _Stream) -> bool:
    """Whether a block gives something else than the teacher's for what the teacher's was given."""
    part = stream.parts[0]
    wanted, given = (block(index, part, stream.state) for block in (right, own))
    return float((given - wanted).square().sum()) > _SAME * float(wanted.square().sum())


def _learn(own: _Stream, block: Block, index: int, kinds: Sequence[str], target: torch.Tensor) -> None:
    learn(lambda part: block(index, part), own.matrices(index, kinds), target - own.state, _counts(target), own.parts)


def _counts(target: torch.Tensor) -> torch.Tensor:
    """(T, 1), what a norm leaves of an error of each token."""
    return target.square().mean(1, keepdim=True).rsqrt()


Inputs = dict[Weight, torch.Tensor]  # of a matrix, (T, columns)


@contextmanager
def _noted(weights: Sequence[Weight]) -> Iterator[Inputs]:
    """What goes into them while this lasts."""
    inputs: Inputs = {}

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


def _fed(own: _Stream, index: int) -> tuple[torch.Tensor, Inputs]:
    """What the block adds, and what goes into its last matrices: of an expert, of all tokens, as much as it counts."""
    weights, block, moe = own.trainee.weights, f"layers.{index}.", own.trainee.model.layers[index].mlp
    if not isinstance(moe, Moe):
        with _noted([weights[f"{block}mlp.down"]]) as inputs:
            return own.fed(index), inputs
    experts, shared = weights[f"{block}experts.down"], weights.get(f"{block}shared_experts.down")
    with _chosen(moe) as choice, _noted([*experts, *([shared] if shared else [])]) as inputs:
        added = own.fed(index)
    ids, counted = choice[-1]
    for number, expert in enumerate(experts):
        tokens, slots = (ids == number).nonzero(as_tuple=True)
        whole = torch.zeros(len(own.state), expert.shape[1])
        if len(tokens):
            whole[tokens] = inputs[expert] * counted[tokens, slots, None]
        inputs[expert] = whole
    return added, inputs


@contextmanager
def _chosen(moe: Moe) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Experts and what they count, of each time that the layer is asked while this lasts."""
    seen, choose = [], moe.choose

    def noted(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(choose(logits))
        return seen[-1]

    moe.choose = noted
    try:
        yield seen
    finally:
        moe.choose = choose


def _fit(inputs: Inputs, missing: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Changes the matrices so that they add what is missing, (T, hidden), and returns what they add: least squares over
    the tokens, each counting by what a norm leaves of it, damped as does best on tokens that are set aside."""
    x = torch.cat(list(inputs.values()), 1)
    scale = _counts(target)
    aside = torch.arange(len(x)) % round(1 / _ASIDE) == 0
    known, asked = (_normal(x[part] * scale[part], missing[part] * scale[part]) for part in (~aside, aside))
    tried = [(_loss(asked, change), damping) for damping in DAMPINGS for change in [_solved(known, damping)]]
    loss, damping = min(tried)
    if loss >= 0:  # better left alone
        return torch.zeros_like(missing)
    change = _solved([a + b for a, b in zip(known, asked, strict=True)], damping)
    parts = change.split([x.shape[1] for x in inputs.values()])
    for weight, part in zip(inputs, parts, strict=True):
        weight.dense += part.T
    return x @ change


def _normal(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    """(columns, columns) and (columns, hidden)"""
    return [x.T @ x, x.T @ y]


def _solved(normal: Sequence[torch.Tensor], damping: float) -> torch.Tensor:
    moments, products = normal
    ridge = (damping * moments.diagonal().mean()).clamp(min=1e-30) * torch.eye(len(moments))
    return torch.linalg.solve(moments + ridge, products)


def _loss(normal: Sequence[torch.Tensor], change: torch.Tensor) -> float:
    """By how much the squared error is more than without the change."""
    moments, products = normal
    return float((change * (moments @ change - 2 * products)).sum())


def _distance(state: torch.Tensor, target: torch.Tensor) -> float:
    return float((((state - target).square().sum(1)) / target.square().sum(1)).mean())

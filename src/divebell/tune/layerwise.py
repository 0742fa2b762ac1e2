"""A student brought near its teacher layer by layer, without a backward pass through the model: a block that is not the
teacher's is trained by itself, and then, as for all others, least squares for the matrices that end it.

Both have layers of the same number and width. What the student's stream should be after a block is the teacher's there,
so that what has gone astray before is made good too, as methods do that prune from layer to layer (SparseGPT, arXiv
2301.00774).
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from divebell.tune.block import learn
from divebell.tune.least_squares import LeastSquares
from divebell.tune.model import Trainee
from divebell.tune.stream import Attention, Block, FeedForward, Stream, matrices
from divebell.tune.walk import Distances, Walk

_SAME = 1e-3  # of a block's output, squared: as far as blocks of bits and the last digits may lead away


@torch.no_grad()
def follow(
    student: Trainee, teacher: Trainee, texts: Sequence[np.ndarray], walk: Walk | None = None
) -> Iterator[Distances]:
    """Changes the student's matrices, which are trained ones. Of each layer: how far the stream is from the teacher's
    at its end, squared and as a part of it, before its feed-forward block is fitted and after.

    walk: where it goes on if it was broken off; layers that are done are told again.
    """
    own, right = Stream(student, texts), Stream(teacher, texts)
    told, states = walk.restore(lambda index: _matrices(own, index)) if walk else ([], {})
    if states:
        own.state, right.state = states["own"], states["right"]
    yield from told
    for index in range(len(told), student.config.layers):
        _brought_near(Attention(own, index), Attention(right, index))
        told.append(_brought_near(FeedForward(own, index), FeedForward(right, index)))
        if walk:
            walk.save(told, _matrices(own, index), own.state, right.state)
        yield told[-1]


def _matrices(own: Stream, index: int) -> list[torch.nn.Parameter]:
    return matrices(Attention(own, index)) + matrices(FeedForward(own, index))


def _brought_near(own: Block, right: Block) -> Distances:
    """Both streams passed on. How far the student's then is, before its block is fitted and after."""
    differs = _differ(own, right)
    right.stream.pass_on(right)
    target = right.stream.state
    if differs:
        learn(own, matrices(own), target - own.stream.state, _counts(target), own.stream.parts, own.rate)
    before = _fit(own, target)
    return _distance(before, target), _distance(own.stream.state, target)


def _differ(own: Block, right: Block) -> bool:
    """Whether a block gives something else than the teacher's for what the teacher's was given."""
    part = right.stream.parts[0]
    wanted, given = (block(part, right.stream.state) for block in (right, own))
    return float((given - wanted).square().sum()) > _SAME * float(wanted.square().sum())


def _counts(target: torch.Tensor) -> torch.Tensor:
    """(T, 1), what a norm leaves of an error of each token."""
    return target.square().mean(1, keepdim=True).rsqrt()


def _fit(block: Block, target: torch.Tensor) -> torch.Tensor:
    """Changes the block's last matrices so that the stream behind it comes near the target, each token counting by what
    a norm leaves of it, and passes the stream on. The stream as it would have been, (T, hidden)."""
    stream, last = block.stream, block.last
    squares, before = LeastSquares(sum(weight.shape[1] for weight in last), target.shape[1]), []
    for part in stream.parts:
        added, x = block.entered(part)
        before.append(stream.state[part.rows] + added)
        scale = _counts(target[part.rows])
        squares.add(x * scale, (target[part.rows] - before[-1]) * scale)
    unchanged, change = torch.cat(before), squares.change()
    if change is None:
        stream.state = unchanged
        return unchanged
    for weight, own in zip(last, change.split([weight.shape[1] for weight in last]), strict=True):
        weight.dense += own.T
    stream.pass_on(block)
    return unchanged


def _distance(state: torch.Tensor, target: torch.Tensor) -> float:
    return float((((state - target).square().sum(1)) / target.square().sum(1)).mean())

"""The load of a model's experts: counted, and kept even while they are trained.

Without a loss (arXiv 2408.15664): after each step, the bias that takes part in an expert's choice rises by a fixed
amount where it had fewer tokens than the mean of its layer, and falls where it had more. And with one, within a
sequence (DeepSeek-V3, arXiv 2412.19437, section 2.1.2, equations 17 to 20).
"""

from collections.abc import Mapping, Sequence

import torch

from divebell.models.moe import Moe
from divebell.ops.torch import scores_of
from divebell.tune.samples import Pack


class Load:
    """A layer's choice of experts, watched: its last logits (T, E) and ids (T, k).

    left_out: of each sequence, how many tokens don't pass this layer.
    """

    def __init__(self, moe: Moe, left_out: int = 0):
        self.router, self.bias, self._left_out = moe.choice, moe.bias, left_out
        self._choose, moe.choose = moe.choose, self

    def __call__(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.logits = logits
        self.ids, weights = self._choose(logits)
        return self.ids, weights

    def counts(self) -> torch.Tensor:
        """How many tokens each expert had, int64 (E,)."""
        return self.ids.flatten().bincount(minlength=self.logits.shape[1])

    def sequence_loss(self, lengths: Sequence[int]) -> torch.Tensor:
        own = [length - self._left_out for length in lengths]
        return sequence_loss(scores_of(self.logits, self.router), own, self.router.top_k)


class Balance:
    """Of layers' loads by name. counts: int64 (E,) of each, since the last step.

    speed: by how much biases move after a step. factor: of the loss within sequences.
    """

    def __init__(self, loads: Mapping[str, Load], speed: float, factor: float):
        self._loads, self._speed, self.factor = loads, speed, factor
        self.counts: dict[str, torch.Tensor] = {}

    def count(self) -> None:
        """Adds what the model has run last."""
        for name, load in self._loads.items():
            self.counts[name] = self.counts.get(name, 0) + load.counts()

    def loss(self, pack: Pack) -> torch.Tensor:
        """The sum over layers and samples, which the model has run last; a sample counts as often as it has tokens to
        learn."""
        lengths, learned = [len(s) for s in pack], torch.tensor([float(s.learned) for s in pack])
        each = (load.sequence_loss(lengths) @ learned for load in self._loads.values())
        return self.factor * sum(each, torch.zeros(()))

    def step(self) -> dict[str, list[int]]:
        """Moves the biases; the counts that they were moved by, which begin anew."""
        for name, counts in self.counts.items():
            if self._speed and self._loads[name].bias is not None:
                move(self._loads[name].bias, counts, self._speed)
        told = {name.rstrip("."): counts.tolist() for name, counts in self.counts.items()}
        self.counts = {}
        return told


@torch.no_grad()
def move(bias: torch.Tensor, counts: torch.Tensor, speed: float) -> None:
    """In place: up where an expert had fewer tokens than the mean, down where it had more."""
    counts = counts.double()
    bias += speed * (counts.mean() - counts).sign().to(bias.dtype)


def sequence_loss(scores: torch.Tensor, lengths: Sequence[int], top_k: int) -> torch.Tensor:
    """Of each sequence, (S,), 1 where all is even. scores: (T, E), sequence after sequence."""
    sequences = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))

    def mean(rows: torch.Tensor) -> torch.Tensor:
        sums = torch.zeros(len(lengths), rows.shape[1]).index_add(0, sequences, rows)
        return sums / torch.tensor(lengths)[:, None]

    chosen = torch.zeros_like(scores).scatter(-1, scores.topk(top_k, dim=-1).indices, 1.0)
    shares = scores / scores.sum(-1, keepdim=True)
    return (mean(chosen.detach()) * mean(shares)).sum(-1) * scores.shape[1] / top_k


def excess(counts: Sequence[int]) -> float:
    """By how much the fullest expert has more than the mean, as a part of the mean (MaxVio in arXiv 2408.15664)."""
    return max(counts) * len(counts) / sum(counts) - 1

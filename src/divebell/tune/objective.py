"""What a method makes of a person's rows, and what it minimises over them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from divebell.text.tokenizer import Tokenizer
from divebell.tune.data import Speaker, read_samples, shown
from divebell.tune.loop import Loss, evaluate
from divebell.tune.loss import NextTokens
from divebell.tune.model import Trainee
from divebell.tune.samples import Pack, packed
from divebell.tune.settings import Settings


class Objective:
    """This one: texts, of which the trained tokens are made likelier. Others override what they do otherwise.

    aim: what trained tokens are learned from.
    forwards: of each token, beside the pass that is differentiated. updates: of the optimizer, in a step.
    """

    unit = "nats per token"
    forwards = 0
    updates = 1

    def __init__(self, settings: Settings):
        self.settings, self.aim = settings, NextTokens()

    @property
    def shown(self) -> tuple[str, ...]:
        """The figures of a step that tell how it goes, the first in the plot, in `unit`."""
        return self.aim.shown

    def read(self, path: Path, speaker: Speaker) -> list[Any]:
        """The rows of a file."""
        return read_samples(path, speaker)

    def example(self, row: Any, tokenizer: Tokenizer) -> str:
        """A row as text, what is trained between ⟦ and ⟧."""
        return shown(row, tokenizer)

    def loss(self, trainee: Trainee, pack: Pack) -> torch.Tensor | dict[str, torch.Tensor]:
        """See `loop.Loss`."""
        return self.aim(trainee, trainee.hidden([sample.ids for sample in pack]), pack)

    def memory(self, description: Any, rows: Sequence[Any]) -> dict[str, int]:
        """Bytes that it takes for itself, by what they are for."""
        return self.aim.memory(max(self.settings.pack, *map(len, rows)))

    @contextmanager
    def prepared(self, trainee: Trainee, method: Any, rows: Sequence[Any]) -> Iterator[None]:
        """The steps lie within this. rows: all that there are, held-out ones too."""
        yield

    def stepped(self) -> dict[str, Any]:
        """After the optimizer's step: what else there is to do, and to tell of it."""
        return {}

    def packs(self, rows: Sequence[Any], step: int) -> list[Pack]:
        """What the step of that number is trained on."""
        return packed(rows, self.settings.pack)

    def held_out(self, trainee: Trainee, rows: Sequence[Any]) -> dict[str, float]:
        """How it does on rows that it isn't trained on: `held_out` is of the first of `shown`, and of each of the
        others `held_out_` and its name."""
        return self._means(trainee, rows, self.loss)

    def _means(self, trainee: Trainee, rows: Sequence[Any], loss: Loss) -> dict[str, float]:
        first, *others = self.shown
        means = evaluate(trainee, packed(rows, self.settings.pack), loss)
        return {"held_out": means[first]} | {f"held_out_{name}": means[name] for name in others}

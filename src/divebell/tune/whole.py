"""Texts, learned by all weights: beside the next token the one after it, where a layer tells that, and even loads."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from divebell.tune.balance import Balance, Load, excess
from divebell.tune.data import Speaker, read_pieces
from divebell.tune.loss import log_probabilities_of
from divebell.tune.model import Trainee
from divebell.tune.objective import Objective
from divebell.tune.samples import Pack, Sample


class Whole(Objective):
    _usual = (0.0, 0.0)  # balance, sequence_balance

    @contextmanager
    def prepared(self, trainee: Trainee, method: Any, rows: Sequence[Sample]) -> Iterator[None]:
        given = (self.settings.balance, self.settings.sequence_balance)
        speed, factor = (u if g is None else g for u, g in zip(self._usual, given, strict=True))
        last = f"layers.{trainee.config.layers}."
        loads = {name: Load(moe, left_out=int(name == last)) for name, moe in trainee.mixtures.items()}
        self._balance = Balance(loads, speed, factor)
        yield

    def loss(self, trainee: Trainee, pack: Pack) -> dict[str, torch.Tensor]:
        """What the aim sums; loss: of next tokens. mtp, balance: what is minimised beside it."""
        sequences = [sample.ids for sample in pack]
        hidden = trainee.hidden(sequences)
        sums = self.aim(trainee, hidden, pack)
        others = torch.zeros(())
        if trainee.mtp:
            ahead = trainee.hidden_ahead(hidden, sequences)
            sums["mtp"] = -torch.cat(log_probabilities_of(trainee, ahead, pack, ahead=2)).sum()
            others = others + self.settings.mtp * sums["mtp"]
        self._balance.count()
        if self._balance.factor:
            sums["balance"] = self._balance.loss(pack)
            others = others + sums["balance"]
        # The figure stays that of next tokens, which the held-out one is compared with; the gradient is of all.
        return sums | {"loss": sums["loss"] + (others - others.detach())}

    def stepped(self) -> dict[str, Any]:
        """load: tokens of each expert of each layer. excess: the fullest's over the mean, on the layers' mean."""
        loads = self._balance.step()
        return {"excess": sum(map(excess, loads.values())) / len(loads), "load": loads} if loads else {}

    def held_out(self, trainee: Trainee, rows: Sequence[Sample]) -> dict[str, float]:
        """Of what the aim sums: without the layer that tells the token after the next, and without balance."""
        return self._means(trainee, rows, super().loss)


class Texts(Whole):
    """Of a new model: each text is learned to its end, and cut where it is longer than a sample."""

    _usual = (0.001, 1e-4)  # DeepSeek-V3's, arXiv 2412.19437, section 4.2

    def read(self, path: Path, speaker: Speaker) -> list[Sample]:
        return read_pieces(path, speaker.tokenizer, speaker.longest)

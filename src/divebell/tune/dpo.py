"""Direct preference optimisation (arXiv 2305.18290): the answers that people prefer become likelier than the others,
as seen from the base, which is the model that the run began with."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn import functional

from divebell.text.tokenizer import Tokenizer
from divebell.tune.data import Speaker, shown
from divebell.tune.loss import log_probabilities
from divebell.tune.model import Trainee
from divebell.tune.objective import Objective
from divebell.tune.preferences import Preference, read_preferences
from divebell.tune.settings import Settings

_BETA = 0.1


class Dpo(Objective):
    shown = ("loss", "margin", "accuracy")
    unit = "nats per pair"
    forwards = 1

    def __init__(self, settings: Settings):
        super().__init__(settings)
        self._beta = _BETA if settings.beta is None else settings.beta

    def read(self, path: Path, speaker: Speaker) -> list[Preference]:
        return read_preferences(path, speaker)

    def example(self, row: Preference, tokenizer: Tokenizer) -> str:
        return f"{shown(row.chosen, tokenizer)}\nand not\n{shown(row.rejected, tokenizer)}"

    def loss(self, trainee: Trainee, pairs: Sequence[Preference]) -> dict[str, torch.Tensor]:
        """Sums over the pairs of -ln sigmoid(margin), of the margins, and of how many of them are above 0.

        A margin is beta times how much more the chosen answer's ln p has grown over the base than the rejected one's.
        """
        with torch.no_grad(), trainee.as_it_began():
            base = _ln_p(trainee, pairs)
        chosen, rejected = (_ln_p(trainee, pairs) - base).unbind(1)
        margins = self._beta * (chosen - rejected)
        accuracy = (margins > 0).float()
        return {"loss": -functional.logsigmoid(margins).sum(), "margin": margins.sum(), "accuracy": accuracy.sum()}


def _ln_p(trainee: Trainee, pairs: Sequence[Preference]) -> torch.Tensor:
    """(pairs, 2): of the whole chosen answer, and of the rejected one."""
    samples = [sample for pair in pairs for sample in (pair.chosen, pair.rejected)]
    return torch.stack([each.sum() for each in log_probabilities(trainee, samples)]).view(-1, 2)

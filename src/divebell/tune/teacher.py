"""A student learns what a teacher finds likely, token by token (Hinton et al., arXiv 1503.02531)."""

from functools import cached_property

import torch
from torch.nn import functional

from divebell import models
from divebell.engine.load import weight_bytes
from divebell.errors import BadInput
from divebell.text.tokenizer import Tokenizer, load_tokenizer
from divebell.tune.loss import ROWS, NextTokens, by_rows, rows_that_tell
from divebell.tune.model import Trainee
from divebell.tune.plan import activations
from divebell.tune.samples import Pack
from divebell.weights.checkpoint import open_checkpoint
from divebell.weights.pull import resolve

_LOGIT_COPIES = 4  # of a chunk, beside the student's: themselves, their logarithms, their exponents, what is summed


class Teacher(NextTokens):
    """A model in its stored format, whose products are those that serve it; it is read when it is first asked.

    labels: how much the rows' own tokens count beside it, from 0 to 1.
    Raises BadInput where its tokens are not those of `tokenizer`, which is the student's.
    """

    shown = ("kl", "loss")

    def __init__(self, name: str, tokenizer: Tokenizer, labels: float):
        self.checkpoint, self._labels = open_checkpoint(resolve(name)), labels
        self._description = models.describe(self.checkpoint)
        self.multiply_adds, self.longest = self._description.active_parameters, self._description.max_positions
        _check_tokens(name, load_tokenizer(self.checkpoint), tokenizer)

    def memory(self, tokens: int) -> dict[str, int]:
        _, layer = activations(self.checkpoint)
        logits = ROWS * self._description.vocabulary * 4 * _LOGIT_COPIES
        return {"teacher": weight_bytes(self._description, "stored") + layer * tokens + logits}

    def __call__(self, trainee: Trainee, hidden: torch.Tensor, pack: Pack) -> dict[str, torch.Tensor]:
        """Sums over the trained tokens. kl: of the teacher's likelihoods from the student's, in nats. loss: -ln p of
        the token itself, a figure that runs without a teacher have too; its gradient is that of what is minimised."""
        rows, ids = (torch.cat(parts) for parts in rows_that_tell(pack))
        with torch.no_grad():
            taught = self._model.hidden([sample.ids for sample in pack])[rows]
        both = by_rows(lambda *own: self._of_rows(trainee, *own), hidden[rows], taught, ids)
        kl, loss = both.sum(0)
        minimised = (1 - self._labels) * kl + self._labels * loss
        return {"kl": kl.detach(), "loss": loss.detach() + minimised - minimised.detach()}

    @cached_property
    def _model(self) -> Trainee:
        return Trainee(self.checkpoint)

    def _of_rows(self, trainee: Trainee, hidden: torch.Tensor, taught: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            teacher = self._model.model.logits(taught)
        student = trainee.model.logits(hidden).float()
        return torch.stack([divergence(teacher, student), functional.cross_entropy(student, ids, reduction="none")], 1)


def divergence(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """KL(teacher || student) of each row, in nats, over the tokens that both have; rows may be padded differently.

    teacher, student: logits (rows, vocabulary). Returns (rows,).
    """
    width = min(teacher.shape[1], student.shape[1])
    right, own = (logits[:, :width].log_softmax(-1) for logits in (teacher, student))
    return functional.kl_div(own, right, reduction="none", log_target=True).sum(-1)


def _check_tokens(name: str, teacher: Tokenizer, student: Tokenizer) -> None:
    for number in range(student.vocabulary_size):
        own, other = student.token_bytes(number), teacher.token_bytes(number)
        if own and own != other:
            raise BadInput(
                f"teacher is {name}, whose token {number} is {_spelt(other)}, and this model's is {_spelt(own)}; "
                "its likelihoods are of other tokens: take a teacher with the same vocabulary"
            )


def _spelt(token: bytes) -> str:
    return repr(token.decode("utf-8", "replace")) if token else "none"

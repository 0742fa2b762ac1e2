"""What is minimised."""

from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from divebell.tune.model import Trainee
from divebell.tune.samples import Pack

ROWS = 256  # of logits at a time: a vocabulary is wide, and backward makes them again


class NextTokens:
    """What trained tokens are learned from: here from themselves. `teacher.Teacher` is another.

    shown: the sums by name, that which is made small first. multiply_adds: of a token, beside the trainee's own.
    longest: no sample may have more tokens; None where any will do.
    """

    shown: tuple[str, ...] = ("loss",)
    multiply_adds = 0
    longest: int | None = None

    def memory(self, tokens: int) -> dict[str, int]:
        """Bytes that it takes for itself while a pack of so many tokens is run, by what they are for."""
        return {}

    def __call__(self, trainee: Trainee, hidden: torch.Tensor, pack: Pack) -> dict[str, torch.Tensor]:
        """The sum, over the trained tokens, of -ln p of each after all before it in its sample. hidden: the rows."""
        return {"loss": -torch.cat(log_probabilities_of(trainee, hidden, pack)).sum()}


def log_probabilities(trainee: Trainee, pack: Pack) -> list[torch.Tensor]:
    """Of each sample (learned,): ln p of its trained tokens, each after all before it. Logits are made of no other
    rows."""
    return log_probabilities_of(trainee, trainee.hidden([sample.ids for sample in pack]), pack)


def log_probabilities_of(trainee: Trainee, hidden: torch.Tensor, pack: Pack, ahead: int = 1) -> list[torch.Tensor]:
    """The same of given rows, which tell the token that comes `ahead` later; a sample's last ahead - 1 have no row."""
    rows, ids = rows_that_tell(pack, ahead)
    found = by_rows(lambda part, own: _of_rows(trainee, part, own), hidden[torch.cat(rows)], torch.cat(ids))
    return list(found.split(list(map(len, ids))))


def rows_that_tell(pack: Pack, ahead: int = 1) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Of each sample, which rows of the pack's tell its trained tokens, and those tokens' ids: int64 (learned,)."""
    rows, ids, begin = [], [], 0
    for sample in pack:
        learned = sample.trained[ahead:].nonzero()[0]
        rows.append(torch.from_numpy(begin + learned))
        ids.append(torch.from_numpy(sample.ids[ahead:][learned]).long())
        begin += len(sample) - ahead + 1
    return rows, ids


def by_rows(function: Any, *inputs: torch.Tensor) -> torch.Tensor:
    """What a function gives of ROWS rows of each input at a time, one after the other; backward runs it again, so that
    what it makes in between is never there for more rows than that."""
    parts = zip(*(each.split(ROWS) for each in inputs), strict=True)
    return torch.cat([checkpoint(function, *part, use_reentrant=False) for part in parts])


def _of_rows(trainee: Trainee, rows: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    return -functional.cross_entropy(trainee.model.logits(rows).float(), ids, reduction="none")

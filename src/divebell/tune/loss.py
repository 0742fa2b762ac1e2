"""What is minimised."""

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from divebell.tune.model import Trainee
from divebell.tune.samples import Pack

ROWS = 256  # of logits at a time: a vocabulary is wide, and backward makes them again


def next_token_loss(trainee: Trainee, pack: Pack) -> torch.Tensor:
    """The sum, over the trained tokens, of -ln p of each after all before it in its sample."""
    return -torch.cat(log_probabilities(trainee, pack)).sum()


def log_probabilities(trainee: Trainee, pack: Pack) -> list[torch.Tensor]:
    """Of each sample (learned,): ln p of its trained tokens, each after all before it. Logits are made of no other
    rows."""
    return log_probabilities_of(trainee, trainee.hidden([sample.ids for sample in pack]), pack)


def log_probabilities_of(trainee: Trainee, hidden: torch.Tensor, pack: Pack, ahead: int = 1) -> list[torch.Tensor]:
    """The same of given rows, which tell the token that comes `ahead` later; a sample's last ahead - 1 have no row."""
    rows, ids, begin = [], [], 0
    for sample in pack:
        learned = sample.trained[ahead:].nonzero()[0]
        rows.append(torch.from_numpy(begin + learned))
        ids.append(torch.from_numpy(sample.ids[ahead:][learned]).long())
        begin += len(sample) - ahead + 1
    parts = zip(hidden[torch.cat(rows)].split(ROWS), torch.cat(ids).split(ROWS), strict=True)
    found = [checkpoint(_of_rows, trainee, part, own, use_reentrant=False) for part, own in parts]
    return list(torch.cat(found).split(list(map(len, ids))))


def _of_rows(trainee: Trainee, rows: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    return -functional.cross_entropy(trainee.model.logits(rows).float(), ids, reduction="none")

"""How likely a text is after another one, read from the model's logits."""

from collections.abc import Sequence

import numpy as np

from divebell.engine.reading import Reading
from divebell.engine.sampler import log_sums


class Likelihood:
    """Of `continuation` after `context`, token ids both, neither empty.

    most: tokens that the model can read; of more, the last ones count. ids: to be read, from `first` on with logits.
    logprob: natural, of the whole continuation. greedy: whether each of its tokens is the likeliest.
    """

    def __init__(self, context: Sequence[int], continuation: Sequence[int], most: int):
        whole = [*context, *continuation][-(most + 1) :]
        self.ids = tuple(whole[:-1])
        self._wanted = np.asarray(whole[max(len(whole) - len(continuation), 1) :])
        self.first = len(self.ids) - len(self._wanted)
        self.logprob, self.greedy = 0.0, True

    def __call__(self, position: int, logits: np.ndarray) -> None:
        """Row i of `logits` is the model's view of the token after position + i."""
        begin = max(self.first - position, 0)
        rows = logits[begin:]
        if len(rows):
            wanted = self._wanted[position + begin - self.first :]
            self.logprob += float((rows[np.arange(len(rows)), wanted[: len(rows)]] - log_sums(rows)).sum())
            self.greedy &= bool((rows.argmax(axis=1) == wanted[: len(rows)]).all())

    @property
    def result(self) -> tuple[float, bool]:
        """As lm-eval wants it."""
        return self.logprob, self.greedy


def readings(likelihoods: Sequence[Likelihood]) -> list[Reading]:
    """What the engine has to run for them: one text is read once, however many answers of one token are asked about;
    of longer ones, what they begin with is read once by the engine's prefix cache."""
    together: dict[tuple[int, ...], list[Likelihood]] = {}
    for likelihood in likelihoods:
        together.setdefault(likelihood.ids, []).append(likelihood)
    return [Reading(ids, _Each(group), min(one.first for one in group)) for ids, group in together.items()]


class _Each:
    """Hands rows to several."""

    def __init__(self, likelihoods: Sequence[Likelihood]):
        self._likelihoods = likelihoods

    def __call__(self, position: int, logits: np.ndarray) -> None:
        for likelihood in self._likelihoods:
            likelihood(position, logits)

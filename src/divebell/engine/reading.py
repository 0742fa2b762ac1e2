"""What the model thought of given tokens: logits of many positions, and requests that generate nothing."""

from collections.abc import Callable
from collections.abc import Sequence as Tokens

import numpy as np

from divebell.engine.sampler import TokenLogprob, log_sums, token_logprob
from divebell.engine.sequence import Sequence
from divebell.errors import Mismatch
from divebell.models.adapter import Adapter

ROWS = 64  # logits of so many positions at once: a vocabulary of 150,000 makes 38 MB of them


class Reading(Sequence):
    """Hands the logits of each position from `first` on to `use(position, logits (n, vocabulary))`, in order."""

    def __init__(
        self,
        ids: Tokens[int],
        use: Callable[[int, np.ndarray], None],
        first: int = 0,
        adapter: Adapter | None = None,
    ):
        super().__init__(ids, len(ids), adapter)
        self._use, self._first = use, first

    @property
    def reusable(self) -> int:
        """Every token whose logits are still to be handed out must be run."""
        return min(self._first, len(self.ids) - 1)

    def take(self, begin: int, hidden: np.ndarray, model: object) -> None:
        first = max(begin, self._first)
        self.error = hand_out(first, hidden[first - begin :], model, self._use)
        self._first = max(first, begin + len(hidden))
        if not self.missing:
            self.finish_reason = "stop"


def hand_out(begin: int, hidden: np.ndarray, model: object, use: Callable[[int, np.ndarray], None]) -> Mismatch | None:
    """Hands on the logits of `hidden` (n, d), the rows from position `begin`, until one is not finite: the error."""
    for start in range(0, len(hidden), ROWS):
        logits = model.logits(np.ascontiguousarray(hidden[start:][:ROWS]))
        finite = np.isfinite(logits).all(axis=1)
        if not finite.all():
            return not_finite(begin + start + int(finite.argmin()), model)
        use(begin + start, logits)
    return None


def not_finite(position: int, model: object) -> Mismatch:
    """What to tell of logits that are NaN or infinite: the damaged tensor if there is one."""
    try:
        model.check_weights()
    except Mismatch as damage:
        return damage
    return Mismatch(
        f"the model's logits at position {position} are not finite numbers (NaN or infinity), though its weights are: "
        'the arithmetic overflows in this number format; load it with weights="f32"'
    )


class Rows:
    """Collects all logits: `rows` float32 (tokens, vocabulary)."""

    def __init__(self, tokens: int, vocabulary: int):
        self.rows = np.empty((tokens, vocabulary), np.float32)

    def __call__(self, position: int, logits: np.ndarray) -> None:
        self.rows[position : position + len(logits)] = logits


class Scores:
    """Collects natural log-probabilities: logprobs[t - first] is that of ids[t], given all before it; first >= 1."""

    def __init__(self, ids: Tokens[int], first: int):
        self._ids, self._first = np.asarray(ids), first
        self.logprobs = np.empty(max(len(ids) - first, 0), np.float64)

    def __call__(self, position: int, logits: np.ndarray) -> None:
        logits = logits[: len(self._ids) - position - 1]
        wanted = self._ids[position + 1 : position + 1 + len(logits)]
        begin = position + 1 - self._first
        scores = logits[np.arange(len(logits)), wanted].astype(np.float64) - log_sums(logits)
        self.logprobs[begin : begin + len(logits)] = scores


class PromptLogprobs:
    """Collects what the model thought of each token of a prompt: `found`, None for the first, which nothing precedes.

    count: how many of the likeliest tokens to keep for each.
    """

    def __init__(self, ids: Tokens[int], count: int):
        self._ids, self._count = list(ids), count
        self.found: list[TokenLogprob | None] = [None]

    @property
    def wanted(self) -> range:
        """Positions of the rows that are still to come."""
        return range(len(self.found) - 1, len(self._ids) - 1)

    def __call__(self, position: int, logits: np.ndarray) -> None:
        following = self._ids[position + 1 :]
        self.found += [token_logprob(row, token, self._count) for row, token in zip(logits, following, strict=False)]

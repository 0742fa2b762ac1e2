"""A request that generates nothing: the model reads given tokens and tells what it thought of them."""

from collections.abc import Callable
from collections.abc import Sequence as Tokens

import numpy as np

from divebell.engine.sampler import log_sums
from divebell.engine.sequence import Sequence
from divebell.errors import Mismatch

ROWS = 64  # logits of so many positions at once: a vocabulary of 150,000 makes 38 MB of them


class Reading(Sequence):
    """Hands the logits of each position from `first` on to `use(position, logits (n, vocabulary))`, in order."""

    def __init__(self, ids: Tokens[int], use: Callable[[int, np.ndarray], None], first: int = 0):
        super().__init__(ids, len(ids))
        self._use, self._first = use, first

    @property
    def reusable(self) -> int:
        """Every token whose logits are still to be handed out must be run."""
        return min(self._first, len(self.ids) - 1)

    def take(self, begin: int, hidden: np.ndarray, model: object) -> None:
        """hidden: (n, d), of the tokens from position `begin`; model: makes logits of them."""
        first = max(begin, self._first)
        for position in range(first, begin + len(hidden), ROWS):
            logits = model.logits(np.ascontiguousarray(hidden[position - begin :][:ROWS]))
            finite = np.isfinite(logits).all(axis=1)
            if not finite.all():
                self.error = not_finite(position + int(finite.argmin()), model)
                return
            self._use(position, logits)
        self._first = max(first, begin + len(hidden))
        if not self.missing:
            self.finish_reason = "stop"


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

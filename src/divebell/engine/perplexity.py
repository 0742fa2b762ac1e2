"""Perplexity of a text, by the protocol of llama.cpp's `perplexity` tool, so that figures can be held side by side.

The text's tokens are cut into chunks of `context`, and each is read on its own. Where the tokenizer begins texts with a
begin token, that token takes the place of each chunk's first. Only predictions made with at least half a context before
them count: those of tokens context // 2 + 1 to context - 1 of each chunk. What is left over at the end is not read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from divebell.config import plural
from divebell.errors import BadInput

SHORTEST = 4  # tokens: the least context that leaves a prediction to score


@dataclass
class Perplexity:
    """Grows by `add`. tokens: predictions scored."""

    tokens: int = 0
    _sum: float = 0.0
    _squares: float = 0.0

    def add(self, logprobs: np.ndarray) -> None:
        """Natural log-probabilities, float64 (n,)."""
        self.tokens += len(logprobs)
        self._sum -= float(logprobs.sum())
        self._squares += float((logprobs**2).sum())

    @property
    def value(self) -> float:
        """exp of the mean negative log-probability."""
        return float(np.exp(self._sum / self.tokens))

    @property
    def uncertainty(self) -> float:
        """One standard error of `value`, as if the predictions were independent of each other."""
        variance = self._squares / self.tokens - (self._sum / self.tokens) ** 2
        return self.value * float(np.sqrt(max(variance, 0) / max(self.tokens - 1, 1)))


def chunks(ids: list[int], context: int, begin: int | None) -> Iterator[list[int]]:
    """Whole chunks of `context` tokens, each with the token `begin` in place of its first, if there is one.

    Raises BadInput where there is not one whole chunk.
    """
    _check_lengths(len(ids), context)
    for start in range(0, len(ids) - context + 1, context):
        chunk = ids[start : start + context]
        yield chunk if begin is None else [begin, *chunk[1:]]


def _check_lengths(tokens: int, context: int) -> None:
    if tokens < SHORTEST:
        raise BadInput(f"this text has {plural(tokens, 'token')}; at least {SHORTEST} are needed: give a longer one")
    if context < SHORTEST:
        raise BadInput(f"context is {context}; it must be {SHORTEST} or more, or there is nothing to score")
    if context > tokens:
        raise BadInput(
            f"context is {context}, but this text has only {plural(tokens, 'token')}; "
            f"take a context of {SHORTEST} to {tokens}, or a longer text"
        )


def perplexity(score: Callable[[list[int], int], np.ndarray], chunks: Iterator[list[int]]) -> Iterator[Perplexity]:
    """What is known after each chunk. score(ids, first): log-probabilities of ids[first:], as `LLM.score` gives."""
    total = Perplexity()
    for chunk in chunks:
        total.add(score(chunk, len(chunk) // 2 + 1))
        yield total

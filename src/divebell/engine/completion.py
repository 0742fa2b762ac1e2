"""What a request comes back with."""

from collections.abc import Mapping
from dataclasses import dataclass

from divebell.engine.sampler import TokenLogprob


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, as OpenAI's API counts them."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the answer took, measured with the process's own clock.

    prompt_tokens: of the request; of them, `cached_tokens` were in the cache from this or other requests.
    computed_tokens: that the model ran for it: the rest of the prompt, and each token generated but the last. There are
        more where it had to repeat what it had given up for other requests, or where it guessed tokens wrongly.
    completion_tokens: generated, the end-of-text token included. drafted_tokens: guessed from the text so far and run
        together with the token before them; of them, `accepted_tokens` came, and took no step of their own.
    waited_seconds: from the request until its first computation began.
    prompt_seconds: from there to the first token. completion_seconds: from the first token to the last.
    seed: what the draws were keyed with; the same request with this seed gives the same text.
    shared_seconds: its share of the steps that it was part of; with other requests in them, less than it lasted.
    bill: energy, carbon and money, as `divebell.costs.receipts.bill` has them; None where nothing is counted.
    """

    prompt_tokens: int
    cached_tokens: int
    computed_tokens: int
    completion_tokens: int
    drafted_tokens: int
    accepted_tokens: int
    waited_seconds: float
    prompt_seconds: float
    completion_seconds: float
    seed: int
    shared_seconds: float = 0.0
    bill: Mapping[str, object] | None = None

    @property
    def seconds(self) -> float:
        return self.waited_seconds + self.prompt_seconds + self.completion_seconds

    @property
    def prompt_tokens_per_second(self) -> float:
        return _rate(self.prompt_tokens - self.cached_tokens, self.prompt_seconds)

    @property
    def tokens_per_second(self) -> float:
        """Decoding speed: tokens after the first, over the time from the first to the last."""
        return _rate(self.completion_tokens - 1, self.completion_seconds)


def _rate(count: int, seconds: float) -> float:
    return count / seconds if count > 0 and seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model made. arguments: JSON text as the model wrote it, valid or not. id: its own, if any."""

    name: str
    arguments: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer.

    text: without the end-of-text token, cut before a stop string, and without the reasoning.
    token_ids: every token generated, the end-of-text token included.
    logprobs: one for each token, or None where none were asked for.
    finish_reason: "stop" (end of text, or a stop string), "length" (max_tokens or the context is full), or None for a
        stream that was closed before its end.
    reasoning: what a reasoning model thought before it answered; None where there was no thinking.
    prompt_logprobs: one for each token of the prompt, None for the first, which nothing comes before; or None where
        none were asked for.
    tool_calls: of the tools that a chat was given; their text is not in `text`.
    """

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] | None
    finish_reason: str | None
    usage: Usage
    receipt: Receipt
    reasoning: str | None = None
    prompt_logprobs: tuple[TokenLogprob | None, ...] | None = None
    tool_calls: tuple[ToolCall, ...] = ()

"""How likely a text is after another one, from a server's echo of both with log-probabilities."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

_BYTES = "bytes:"  # how a token that is only part of a character is shown


def likelihood(context: str, continuation: str, choice: dict[str, Any]) -> tuple[float, bool]:
    """Of the continuation: its natural log-probability, and whether each of its tokens is the likeliest.

    choice: an answer of /v1/completions with `echo`, `logprobs` and no new token. Tokens are split where lm-eval does:
    spaces at the end of the context count as the continuation's. Raises ValueError, saying what is missing.
    """
    told = choice.get("logprobs")
    if not isinstance(told, dict) or choice.get("text") != context + continuation:
        raise ValueError("does not echo the prompt with log-probabilities")
    tokens, logprobs, tops = (told.get(name) for name in ("tokens", "token_logprobs", "top_logprobs"))
    if not all(isinstance(own, list) for own in (tokens, logprobs, tops)) or not len(tokens) == len(logprobs) == len(
        tops
    ):
        raise ValueError("gives no lists of tokens with log-probabilities and likeliest tokens")
    spaces = context[len(context.rstrip()) :]
    count = _tokens_of((spaces + continuation).encode(), tokens)
    pairs = list(zip(logprobs[-count:], tops[-count:], strict=True))
    if not all(_known(logprob) and isinstance(top, dict) and all(map(_known, top.values())) for logprob, top in pairs):
        raise ValueError("gives no log-probability of each token")
    return float(sum(logprob for logprob, _ in pairs)), all(
        logprob >= max(top.values()) for logprob, top in pairs if top
    )


def _known(logprob: Any) -> bool:
    return isinstance(logprob, int | float) and isfinite(logprob)


def _tokens_of(ending: bytes, tokens: Sequence[Any]) -> int:
    """How many of the last tokens spell the ending."""
    spelled, count = b"", 0
    while len(spelled) < len(ending) and count < len(tokens):
        count += 1
        spelled = _spelling(tokens[-count]) + spelled
    if not count or not spelled.endswith(ending):
        raise ValueError("gives tokens that do not spell the prompt")
    return count


def _spelling(token: Any) -> bytes:
    if not isinstance(token, str):
        raise ValueError("gives tokens that are no texts")
    if not token.startswith(_BYTES):
        return token.encode("utf-8", "surrogatepass")
    pieces = token.removeprefix(_BYTES).split("\\x")[1:]
    return bytes.fromhex("".join(pieces))

"""Answers on their way out: JSON, and the frames of OpenAI's streams."""

import json
import time
from collections.abc import Mapping
from uuid import uuid4

from starlette.responses import Response

from divebell import __version__
from divebell.engine.generation import Generation
from divebell.serve.errors import as_refusal
from divebell.serve.refusal import openai_error

DONE = "data: [DONE]\n\n"
WAITING = ": waiting\n\n"  # a comment, which clients pass over
# Ends of lines to some clients (Python's str.splitlines among them), though not to the standard of event streams.
LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}


def dumps(value: object) -> str:
    """JSON in one line, whoever looks at it."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(LINE_ENDS)


def answered(body: Mapping[str, object]) -> Response:
    return Response(dumps(body), media_type="application/json")


def frame(body: Mapping[str, object]) -> str:
    return f"data: {dumps(body)}\n\n"


def failed(error: Exception) -> str:
    """An error when the status has already been sent."""
    return frame(openai_error(as_refusal(error)))


def head(prefix: str, kind: str, model: str) -> dict[str, object]:
    """The fields that every object and every chunk begins with."""
    return {
        "id": f"{prefix}-{uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": f"divebell-{__version__}",
    }


def usage(firsts: list[Generation], generations: list[Generation]) -> dict[str, object]:
    """firsts: the first answer to each prompt, which counts for the prompt."""
    prompt, cached = sum(each.given for each in firsts), sum(each.reused or 0 for each in firsts)
    completion = sum(len(each.ids) - each.given for each in generations)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def timings(generations: list[Generation]) -> dict[str, object]:
    """How fast an answer was, under llama.cpp's names: milliseconds, tokens a second. Of several answers, nothing."""
    if len(generations) != 1:
        return {}
    receipt = generations[0].completion().receipt
    told = {
        "cache_n": receipt.cached_tokens,
        "prompt_n": receipt.prompt_tokens - receipt.cached_tokens,
        "prompt_ms": round(receipt.prompt_seconds * 1000, 3),
        "prompt_per_second": round(receipt.prompt_tokens_per_second, 3),
        "predicted_n": receipt.completion_tokens,
        "predicted_ms": round(receipt.completion_seconds * 1000, 3),
        "predicted_per_second": round(receipt.tokens_per_second, 3),
    }
    return {"timings": told}

"""How much one request, and all of them together, may take."""

from dataclasses import dataclass
from math import ceil, inf

from divebell.config import format_bytes, plural
from divebell.errors import BadInput
from divebell.serve.refusal import TOO_LONG, Refusal

MIB = 1 << 20
_LEAST = (
    ("prompt", "--max-prompt", 1),
    ("output", "--max-output", 1),
    ("queue", "--max-queue", 1),
    ("seconds", "--time-limit", 1),
    ("grace", "--grace", 0),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """body: bytes. prompt, output: tokens, None for as many as the context holds. queue: answers of one model that may
    wait and run at once. seconds: of one request, from its arrival to its end. grace: seconds that requests in flight
    have when the server is told to stop."""

    body: int = 32 * MIB
    prompt: int | None = None
    output: int | None = None
    queue: int = 128
    seconds: float = 3600
    grace: float = 30

    def __post_init__(self):
        for name, flag, least in _LEAST:
            value = getattr(self, name)
            if value is not None and not least <= value < inf:
                raise BadInput(f"{flag} is {value}; it must be {least} or more")

    def body_too_large(self) -> Refusal:
        return Refusal(413, f"the body is larger than the limit of {format_bytes(self.body)} (--max-body)")

    def check_prompt(self, tokens: int) -> None:
        if self.prompt is not None and tokens > self.prompt:
            message = (
                f"the prompt has {plural(tokens, 'token')}; this server takes {self.prompt} at most (--max-prompt)"
            )
            raise Refusal(400, message, code=TOO_LONG)

    def output_tokens(self, asked: int | None, field: str) -> int | None:
        """Tokens of an answer at most."""
        if self.output is None or asked is None:
            return asked if self.output is None else self.output
        if asked > self.output:
            message = f"{field} is {asked}; this server allows {self.output} at most (--max-output)"
            raise Refusal(400, message, param=field)
        return asked

    def check_queue(self, present: int, more: int, seconds_each: float) -> None:
        """present: answers that wait or run; more: those that a request wants."""
        if more > self.queue:
            message = f"the request wants {more} answers; this server takes {self.queue} at once (--max-queue)"
            raise Refusal(400, message)
        if present + more > self.queue:
            message = f"{present} answers wait or run, and the limit is {self.queue} (--max-queue); try again later"
            raise Refusal(429, message, code="queue_full", retry_after=min(max(ceil(seconds_each), 1), 60))

    def too_slow(self) -> Refusal:
        message = f"the answer took longer than the limit of {self.seconds:g} s (--time-limit); ask for fewer tokens"
        return Refusal(503, message, code="time_limit", final=True)

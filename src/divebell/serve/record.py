"""What is kept of one HTTP request: for the access log and the metrics, never a prompt."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from starlette.types import Scope

from divebell.engine.generation import Generation
from divebell.serve.receipt import receipt_of

SCOPE = "divebell.record"


@dataclass(slots=True)
class Record:
    """seconds: from the arrival; first_token: until the first token of an answer. Tokens are of all its answers.

    route: the pattern of our paths that its path follows; None: of none. receipt: what they cost."""

    client: str
    method: str
    path: str
    id: str = field(default_factory=lambda: f"req_{uuid4().hex}")
    key: str | None = None
    model: str | None = None
    status: int = 0
    route: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    first_token: float | None = None
    seconds: float = 0.0
    began: float = field(default_factory=time.monotonic)
    receipt: dict[str, Any] | None = None

    def count(self, firsts: Sequence[Generation], generations: Sequence[Generation]) -> None:
        """Adds what they took, whether they have ended or not. firsts: see `divebell.serve.frames.usage`."""
        self.receipt = receipt_of(generations)
        self.prompt_tokens += sum(first.given for first in firsts)
        self.cached_tokens += sum(first.reused or 0 for first in firsts)
        for generation in generations:
            answered = len(generation.ids) - generation.given
            self.completion_tokens += answered
            if answered and self.first_token is None:
                self.first_token = generation.times.first - generation.times.asked

    def line(self) -> str:
        """One JSON object."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        told = {name: getattr(self, name) for name in _TOLD}
        times = {"first_token": self.first_token, "seconds": self.seconds}
        if self.receipt:
            times["joules"] = self.receipt["joules"]
        rounded = {name: round(value, 4) for name, value in times.items() if value is not None}
        return json.dumps({"time": stamp} | {k: v for k, v in told.items() if v is not None} | rounded)


_TOLD = (
    *("id", "client", "key", "method", "path", "status", "model"),
    *("prompt_tokens", "cached_tokens", "completion_tokens"),
)


def record_of(scope: Scope) -> Record:
    return scope[SCOPE]

"""One request to a server under measurement: when its tokens came, and what of its prompt was computed."""

import json
from collections.abc import Sequence
from itertools import pairwise
from time import monotonic

import httpx

from soak_answers import lines
from soak_server import KEY


class Answer:
    """sent, pieces: when it was asked for, and when how many tokens came. tokens: as log-probabilities spell them.
    prompt, cached: tokens of the prompt, and those that were not computed for it."""

    def __init__(self):
        self.sent = monotonic()
        self.pieces: list[tuple[float, int]] = []
        self.tokens: list[str] = []
        self.text = ""
        self.prompt = self.cached = 0

    @property
    def first(self) -> float:
        """Seconds to the first token."""
        return self.pieces[0][0] - self.sent

    @property
    def end(self) -> float:
        return self.pieces[-1][0]

    def between(self, begin: float, end: float) -> list[float]:
        """Seconds of each token that came within a time, one from the one before."""
        within = [piece for piece in self.pieces if begin <= piece[0] <= end]
        return [(late - early) / count for (early, _), (late, count) in pairwise(within) for _ in range(count)]

    def take(self, line: str) -> None:
        """One of a stream of server-sent events."""
        if not line.startswith("data: {"):
            return
        body = json.loads(line.removeprefix("data: "))
        if "error" in body:
            raise RuntimeError(body["error"]["message"])
        for choice in body["choices"]:
            self.text += choice["text"]
            self._came(choice["logprobs"]["tokens"])
        if usage := body["usage"]:
            self.prompt, self.cached = usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]

    def _came(self, tokens: list[str]) -> None:
        if tokens:
            self.pieces.append((monotonic(), len(tokens)))
            self.tokens += tokens


class Client:
    """model: its name on the server. url: where that listens, which changes when it is started again."""

    def __init__(self, model: str):
        self.url, self._model, self._asked = "", model, 0
        self.http = httpx.AsyncClient(headers={"authorization": f"Bearer {KEY}"}, timeout=None)

    async def ask(self, prompt: str | Sequence[int], max_tokens: int, answer: Answer | None = None) -> Answer:
        """max_tokens: so many come. answer: may be looked at while they do. Log-probabilities are asked for because
        every token is told then, also one that is no text yet. Raises RuntimeError where the server refuses."""
        answer, self._asked = answer or Answer(), self._asked + 1
        body = {"model": self._model, "prompt": prompt, "max_tokens": max_tokens, "ignore_eos": True, "logprobs": 0}
        body |= {"seed": self._asked, "stream": True, "stream_options": {"include_usage": True}}
        async with self.http.stream("POST", f"{self.url}/v1/completions", json=body) as response:
            if response.status_code != 200:
                raise RuntimeError((await response.aread()).decode())
            async for line in lines(response.aiter_bytes()):
                answer.take(line)
        return answer

    async def context(self) -> int:
        """Tokens that a prompt and its answer may have together."""
        response = await self.http.get(f"{self.url}/v1/models/{self._model}")
        return response.json()["max_model_len"]

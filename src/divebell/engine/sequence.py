"""One request on its way: its tokens, its pages, the text it has produced."""

import os
from collections import deque
from collections.abc import Sequence as Tokens
from time import perf_counter

import numpy as np

from divebell.engine.completion import Completion, Receipt, Usage
from divebell.engine.sampler import Sampler, TokenLogprob, token_logprob
from divebell.engine.sampling import Sampling
from divebell.text.stops import Stops

PRIMING = 4  # a character takes at most 4 bytes, so no more tokens can hold the start of the answer's first one


class Sequence:
    """ids: prompt and answer. cached: how many of them are in the cache, in `pages`. pieces: text not yet taken."""

    def __init__(self, prompt: Tokens[int], sampling: Sampling, vocabulary: int, eos_ids: frozenset[int]):
        self.ids = list(prompt)
        self.prompt_tokens = len(self.ids)
        self.sampling = sampling
        self.seed = int.from_bytes(os.urandom(6)) if sampling.seed is None else int(sampling.seed)
        self.sampler = Sampler(sampling, self.seed, self.ids, vocabulary)
        self.logprobs: list[TokenLogprob] = []
        self.pages: list[int] = []
        self.cached = self.reused = 0
        self.most_tokens = 0
        self.finish_reason: str | None = None
        self.error: Exception | None = None
        self.times = _Times()
        self._eos_ids = frozenset() if sampling.ignore_eos else eos_ids
        self._text = _Text(None, sampling.stop)

    def speak(self, detokenizer: object, continues: bool) -> None:
        """Text comes from `detokenizer`; with `continues` it goes on from the prompt's, spaces and half characters."""
        for token in self.ids[-PRIMING:] if continues else ():
            detokenizer.push(token)
        self._text = _Text(detokenizer, self.sampling.stop)

    @property
    def answer(self) -> list[int]:
        return self.ids[self.prompt_tokens :]

    @property
    def missing(self) -> int:
        """Tokens that the cache does not hold yet: 1 while decoding."""
        return len(self.ids) - self.cached

    @property
    def finished(self) -> bool:
        return self.finish_reason is not None or self.error is not None

    @property
    def pieces(self) -> deque[str]:
        return self._text.pieces

    def extend(self, logits: np.ndarray) -> None:
        """Takes the next token from a row of logits; ends the sequence where it is time."""
        token = self.sampler.choose(logits)
        if self.sampling.logprobs is not None:
            self.logprobs.append(token_logprob(logits, token, self.sampling.logprobs))
        self.ids.append(token)
        self.times.token()
        if token in self._eos_ids or self._text.push(token):
            self._finish("stop")
        elif len(self.ids) >= self.most_tokens:
            self._finish("length")

    def _finish(self, reason: str) -> None:
        self._text.flush()
        self.finish_reason = reason

    def completion(self) -> Completion:
        tokens = tuple(self.answer)
        logprobs = tuple(self.logprobs) if self.sampling.logprobs is not None else None
        usage = Usage(self.prompt_tokens, len(tokens))
        return Completion(self._text.whole, tokens, logprobs, self.finish_reason, usage, self._receipt(len(tokens)))

    def _receipt(self, count: int) -> Receipt:
        times = self.times
        return Receipt(
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.reused,
            completion_tokens=count,
            waited_seconds=times.began - times.asked,
            prompt_seconds=times.first - times.began,
            completion_seconds=times.last - times.first,
            seed=self.seed,
        )


class _Text:
    """Token ids to text, up to a stop string."""

    def __init__(self, detokenizer: object | None, stops: Tokens[str]):
        self.pieces: deque[str] = deque()
        self.whole = ""
        self._detokenizer = detokenizer
        self._stops = Stops(stops)
        self._stopped = False

    def push(self, token: int) -> bool:
        """Whether a stop string is complete."""
        if self._detokenizer:
            self._add(self._detokenizer.push(token))
        return self._stopped

    def flush(self) -> None:
        if self._detokenizer and not self._stopped:
            self._add(self._detokenizer.flush())
        if not self._stopped:
            self._emit(self._stops.flush())

    def _add(self, text: str) -> None:
        emitted, self._stopped = self._stops.push(text)
        self._emit(emitted)

    def _emit(self, text: str) -> None:
        if text:
            self.pieces.append(text)
            self.whole += text


class _Times:
    def __init__(self):
        self.asked = self.began = self.first = self.last = perf_counter()
        self._begun = self._spoken = False

    def begin(self) -> None:
        if not self._begun:
            self._begun = True
            self.began = self.first = self.last = perf_counter()

    def token(self) -> None:
        self.last = perf_counter()
        if not self._spoken:
            self._spoken, self.first = True, self.last

"""A request for new tokens: draws them, and turns them into text."""

import os
from collections import deque
from collections.abc import Sequence as Tokens

import numpy as np

from divebell.engine.completion import Completion, Receipt, Usage
from divebell.engine.sampler import Sampler, TokenLogprob, token_logprob
from divebell.engine.sampling import Sampling
from divebell.engine.sequence import Sequence
from divebell.text.stops import StopMatcher

PRIMING = 4  # a character takes at most 4 bytes, so no more tokens can hold the start of the answer's first one


class Generation(Sequence):
    """ids: prompt and answer. eos_ids: what ends a text, unless the request ignores it."""

    def __init__(self, prompt: Tokens[int], sampling: Sampling, most_tokens: int, vocabulary: int, eos_ids: set[int]):
        super().__init__(prompt, most_tokens)
        self.sampling = sampling
        self.seed = int.from_bytes(os.urandom(6)) if sampling.seed is None else int(sampling.seed)
        self.text = Text(None, sampling.stop)
        self._sampler = Sampler(sampling, self.seed, self.ids, vocabulary)
        self._logprobs: list[TokenLogprob] = []
        self._eos_ids = frozenset() if sampling.ignore_eos else frozenset(eos_ids)

    def speak(self, detokenizer: object, continues: bool) -> None:
        """Text comes from `detokenizer`; with `continues` it goes on from the prompt's, spaces and half characters."""
        for token in self.ids[-PRIMING:] if continues else ():
            detokenizer.push(token)
        self.text = Text(detokenizer, self.sampling.stop)

    def extend(self, logits: np.ndarray) -> None:
        """Takes the next token from a row of finite logits (vocabulary,); ends the request where it is time."""
        token = self._sampler.choose(logits)
        if self.sampling.logprobs is not None:
            self._logprobs.append(token_logprob(logits, token, self.sampling.logprobs))
        self.ids.append(token)
        self.times.token()
        if token in self._eos_ids or self.text.push(token):
            self._finish("stop")
        elif len(self.ids) >= self.most_tokens:
            self._finish("length")

    def _finish(self, reason: str) -> None:
        self.text.flush()
        self.finish_reason = reason

    def completion(self) -> Completion:
        tokens = tuple(self.ids[self.given :])
        logprobs = tuple(self._logprobs) if self.sampling.logprobs is not None else None
        usage = Usage(self.given, len(tokens))
        return Completion(self.text.whole, tokens, logprobs, self.finish_reason, usage, self._receipt(len(tokens)))

    def _receipt(self, count: int) -> Receipt:
        times = self.times
        return Receipt(
            prompt_tokens=self.given,
            cached_tokens=self.reused or 0,
            computed_tokens=self.computed,
            completion_tokens=count,
            waited_seconds=times.began - times.asked,
            prompt_seconds=times.first - times.began,
            completion_seconds=times.last - times.first,
            seed=self.seed,
        )


class Text:
    """The text of an answer up to a stop string. pieces: what nobody has taken yet."""

    def __init__(self, detokenizer: object | None, stops: Tokens[str]):
        self.pieces: deque[str] = deque()
        self.whole = ""
        self._detokenizer = detokenizer
        self._stops = StopMatcher(stops)
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

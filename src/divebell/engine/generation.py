"""A request for new tokens: draws them, and turns them into text."""

import os
from collections import deque
from collections.abc import Callable, Set
from collections.abc import Sequence as Tokens
from functools import cached_property

import numpy as np

from divebell.engine.completion import Completion, Receipt, Usage
from divebell.engine.grammar import Awaited, Governor
from divebell.engine.reading import PromptLogprobs, hand_out
from divebell.engine.sampler import Sampler, TokenLogprob, token_logprob
from divebell.engine.sampling import Sampling
from divebell.engine.sequence import Sequence
from divebell.engine.speculative import Guess, Guesser
from divebell.errors import BadInput
from divebell.models.adapter import Adapter
from divebell.text.stops import StopMatcher

PRIMING = 4  # a character takes at most 4 bytes, so no more tokens can hold the start of the answer's first one


class Generation(Sequence):
    """ids: prompt and answer. eos_ids: what ends a text, unless the request ignores it. governor: what may be drawn.

    logprobs: one for each token of the answer, where the request wants them.
    """

    def __init__(
        self,
        prompt: Tokens[int],
        sampling: Sampling,
        most_tokens: int,
        vocabulary: int,
        eos_ids: Set[int],
        governor: Governor | Awaited | None = None,
        adapter: Adapter | None = None,
    ):
        super().__init__(prompt, most_tokens, adapter)
        self.sampling = sampling
        self.seed = int.from_bytes(os.urandom(6)) if sampling.seed is None else int(sampling.seed)
        self.text = Text(None, sampling.stop)
        self._sampler = Sampler(sampling, self.seed, self.ids, vocabulary)
        self._governor = governor
        self.logprobs: list[TokenLogprob] = []
        self._eos_ids = frozenset(sampling.stop_ids) | (frozenset() if sampling.ignore_eos else eos_ids)
        scored = sampling.prompt_logprobs is not None
        self._prompt_logprobs = PromptLogprobs(self.ids, sampling.prompt_logprobs) if scored else None

    def speak(self, detokenizer: object, continues: bool) -> None:
        """Text comes from `detokenizer`; with `continues` it goes on from the prompt's, spaces and half characters."""
        for token in self.ids[-PRIMING:] if continues else ():
            detokenizer.push(token)
        self.text = Text(detokenizer, self.sampling.stop)

    def extend(self, logits: np.ndarray) -> None:
        """Takes the next token from a row of finite logits (vocabulary,); ends the request where it is time."""
        if len(self.ids) < self.most_tokens:
            self._take(self._sampler.choose(logits, self._governor.allowed if self._governor else None), logits)
        if not self.finished and len(self.ids) >= self.most_tokens:
            self._finish("length")

    def _take(self, token: int, logits: np.ndarray) -> None:
        if self.sampling.logprobs is not None:
            self.logprobs.append(token_logprob(logits, token, self.sampling.logprobs))
        self.ids.append(token)
        self.times.token()
        if token in self._eos_ids or self.text.push(token) or self._ends_grammar(token):
            self._finish("stop")

    def _ends_grammar(self, token: int) -> bool:
        if not self._governor:
            return False
        try:
            self._governor.take(token)
        except BadInput as problem:
            self.error = problem
        return self._governor.ended

    def draft(self, most: int, worthwhile: Callable[[list[Guess]], list[int]]) -> list[int]:
        """What the grammar forces, or else what followed the same tokens before, as far as the grammar allows it."""
        guesses = self._guesser.guesses(most)
        if self._governor:
            guesses = self._governor.narrowed(guesses, most)
        return worthwhile(guesses)

    @cached_property
    def _guesser(self) -> Guesser:
        return Guesser(self.ids)

    @property
    def reusable(self) -> int:
        """A token of the prompt whose row is still to be scored must be run."""
        wanted = self._prompt_logprobs.wanted if self._prompt_logprobs else ()
        return wanted[0] if wanted else len(self.ids) - 1

    def take(self, begin: int, hidden: np.ndarray, model: object) -> None:
        """Scores the prompt. Its last row is not wanted: what follows that is the answer's first token."""
        wanted = self._prompt_logprobs.wanted if self._prompt_logprobs else ()
        if wanted:
            rows = hidden[wanted[0] - begin : wanted[-1] + 1 - begin]
            self.error = hand_out(wanted[0], rows, model, self._prompt_logprobs)

    def _finish(self, reason: str) -> None:
        self.text.flush()
        self.finish_reason = reason

    def completion(self) -> Completion:
        tokens = tuple(self.ids[self.given :])
        logprobs = tuple(self.logprobs) if self.sampling.logprobs is not None else None
        usage = Usage(self.given, len(tokens))
        of_prompt = tuple(self._prompt_logprobs.found) if self._prompt_logprobs else None
        receipt = self._receipt(len(tokens))
        return Completion(
            self.text.whole, tokens, logprobs, self.finish_reason, usage, receipt, prompt_logprobs=of_prompt
        )

    def _receipt(self, count: int) -> Receipt:
        times = self.times
        return Receipt(
            prompt_tokens=self.given,
            cached_tokens=self.reused or 0,
            computed_tokens=self.computed,
            completion_tokens=count,
            drafted_tokens=self.drafted,
            accepted_tokens=self.accepted,
            waited_seconds=times.began - times.asked,
            prompt_seconds=times.first - times.began,
            completion_seconds=times.last - times.first,
            seed=self.seed,
            shared_seconds=self.spent.seconds,
            bill=self.books.bill(self) if self.books else None,
        )


class Text:
    """The text of an answer up to a stop string. pieces: what nobody has taken yet."""

    def __init__(self, detokenizer: object | None, stops: Tokens[str]):
        self.pieces: deque[str] = deque()
        self.whole = ""
        self._detokenizer = detokenizer
        self._stops = StopMatcher(stops)
        self._stopped = False

    @property
    def stop(self) -> str | None:
        """The stop string that ended it."""
        return self._stops.found

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

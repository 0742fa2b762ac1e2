"""One answer of a chat as it comes: the parts of its text told apart."""

from dataclasses import replace
from uuid import uuid4

from divebell.engine.conversation import Answer as Parts
from divebell.engine.generation import Generation
from divebell.engine.sampler import TokenLogprob
from divebell.serve.job import Update
from divebell.text.events import CallArguments, CallEnd, CallStart, Event
from divebell.text.parser import Parser
from divebell.text.tokenizer import Tokenizer


class Answer:
    """parts: its reasoning, text and calls so far. logprobs: of the tokens so far, where they were asked for.

    parallel: without it, whatever comes after the first call is left out. must_call: it can be nothing but calls.
    """

    def __init__(self, generation: Generation, parser: Parser, parallel: bool = True, must_call: bool = False):
        self.generation = generation
        self.parts = Parts()
        self.logprobs: list[TokenLogprob] = []
        self._parser, self._parallel, self._must_call = parser, parallel, must_call
        self._reason: str | None = None
        self._breaks_off = False

    def take(self, update: Update) -> list[Event]:
        """What an update says. Every call has an id: the model's, or else one of ours."""
        events = self._parser.push(update.text) if update.text else []
        if update.finish_reason:
            events += self._flushed(update.finish_reason)
        self.logprobs += update.logprobs
        events = [self._identified(event) for event in events if not self._left_out(event)]
        for event in events:
            self.parts.add(event)
        return events

    def _flushed(self, reason: str) -> list[Event]:
        """A call that goes on to where the text was cut, by its length or a stop string, breaks off."""
        cut = reason == "length" or self.generation.text.stop is not None
        events = self._parser.flush(cut, self._must_call)
        self._breaks_off = cut and any(isinstance(event, CallEnd) and not self._left_out(event) for event in events)
        self._reason = reason
        return events

    @property
    def thinks_first(self) -> bool:
        """Whether the prompt has opened its reasoning."""
        return self._parser.opened

    @property
    def finish_reason(self) -> str | None:
        """As OpenAI has it: "stop", "length", "tool_calls"; None before the end. Calls of which one breaks off are not
        to be made."""
        calls = self.parts.tool_calls and not self._breaks_off
        return "tool_calls" if self._reason == "stop" and calls else self._reason

    def reasoning_tokens(self, tokenizer: Tokenizer) -> int:
        """Of the text of its reasoning, as the tokenizer would write it."""
        reasoning = self.parts.reasoning
        return len(tokenizer.encode(reasoning, add_special_tokens=False)) if reasoning else 0

    @staticmethod
    def _identified(event: Event) -> Event:
        if isinstance(event, CallStart) and not event.id:
            return replace(event, id=f"call_{uuid4().hex[:24]}")
        return event

    def _left_out(self, event: Event) -> bool:
        return not self._parallel and isinstance(event, CallStart | CallArguments | CallEnd) and event.index > 0

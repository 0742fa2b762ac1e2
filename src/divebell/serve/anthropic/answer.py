"""An answer in Anthropic's words: whole, and as events."""

import re
from collections.abc import Mapping
from uuid import uuid4

from divebell.engine.completion import ToolCall
from divebell.engine.generation import Generation
from divebell.serve.answer import Answer
from divebell.serve.frames import dumps
from divebell.serve.receipt import receipt_of
from divebell.text.events import CallArguments, CallEnd, CallStart, Content, Event, Reasoning
from divebell.text.tools import arguments_mapping

_ID = re.compile(r"[a-zA-Z0-9_-]+")


def message(answer: Answer, model: str, hides_thinking: bool = False) -> dict[str, object]:
    """The whole answer. hides_thinking: that there was some is told, and not what."""
    content = [block(item, hides_thinking) for item in answer.parts.items if item != Reasoning("")]
    told = {"usage": usage(answer.generation), "receipt": receipt_of([answer.generation])}
    return head(model) | {"content": content, **ending(answer), **told}


def head(model: str) -> dict[str, object]:
    return {"id": f"msg_{uuid4().hex[:24]}", "type": "message", "role": "assistant", "model": model}


def usage(generation: Generation) -> dict[str, object]:
    """input_tokens are those that were not in the cache, as Anthropic counts them."""
    cached = generation.reused or 0
    return {
        "input_tokens": generation.given - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": len(generation.ids) - generation.given,
    }


def ending(answer: Answer) -> dict[str, object]:
    stop = answer.generation.text.stop if answer.finish_reason == "stop" else None
    reasons = {"stop": "stop_sequence" if stop else "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
    return {"stop_reason": reasons[answer.finish_reason], "stop_sequence": stop}


def block(item: Reasoning | Content | ToolCall, hides_thinking: bool) -> dict[str, object]:
    match item:
        case Reasoning(text):
            return thinking_block("" if hides_thinking else text)
        case Content(text):
            return text_block(text)
    return tool_use(item.id, item.name, arguments_mapping(item.arguments))


def thinking_block(text: str) -> dict[str, object]:
    return {"type": "thinking", "thinking": text, "signature": ""}


def text_block(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}


def tool_use(id: str | None, name: str, arguments: Mapping[str, object]) -> dict[str, object]:
    """An id of the model's own is kept where Anthropic's clients take it."""
    id = id if id and _ID.fullmatch(id) else f"toolu_{uuid4().hex[:24]}"
    return {"type": "tool_use", "id": id, "name": name, "input": arguments}


EMPTY = {"thinking": thinking_block(""), "text": text_block("")}
DELTAS = {  # kind of block: of the deltas that it grows by, the type, and the field that has the text
    "thinking": ("thinking_delta", "thinking"),
    "text": ("text_delta", "text"),
    "tool_use": ("input_json_delta", "partial_json"),
}


class Frames:
    """Events of one stream. One block is open at a time. hides_thinking: as in `message`."""

    def __init__(self, answer: Answer, model: str, hides_thinking: bool = False):
        self._answer, self._model, self._hides_thinking = answer, model, hides_thinking
        self._index, self._open = -1, None
        self._begun = False

    def begin(self) -> list[str]:
        """message_start, once."""
        if self._begun:
            return []
        self._begun = True
        started = head(self._model) | {"content": [], "stop_reason": None, "stop_sequence": None}
        told = usage(self._answer.generation) | {"output_tokens": 0}
        return [frame("message_start", {"message": started | {"usage": told}})]

    def waiting(self) -> list[str]:
        """A sign of life that is no ping: an empty piece of the block that is open, or that likely comes first."""
        first = "thinking" if self._answer.thinks_first and self._index < 0 else "text"
        opened = [] if self._open else self._within(first, EMPTY[first])
        return [*self.begin(), *opened, self._delta(*DELTAS[self._open], "")]

    def of(self, event: Event) -> list[str]:
        """What an event adds."""
        match event:
            case Reasoning(text) if text:
                opened = self._within("thinking", EMPTY["thinking"])  # first: a delta bears the number of its block
                return opened if self._hides_thinking else [*opened, self._delta(*DELTAS["thinking"], text)]
            case Content(text):
                return [*self._within("text", EMPTY["text"]), self._delta(*DELTAS["text"], text)]
            case CallStart(_, name, id):
                return [*self.close(), *self._within("tool_use", tool_use(id, name, {}))]
            case CallArguments(_, text):
                return [self._delta(*DELTAS["tool_use"], text)]
            case CallEnd():
                return self.close()
        return []

    def end(self) -> list[str]:
        """message_delta and message_stop."""
        told, receipt = usage(self._answer.generation), receipt_of([self._answer.generation])
        return [
            *self.close(),
            frame("message_delta", {"delta": ending(self._answer), "usage": told, "receipt": receipt}),
            frame("message_stop", {}),
        ]

    def close(self) -> list[str]:
        """Ends the block that is open."""
        if self._open is None:
            return []
        signature = [self._delta("signature_delta", "signature", "")] if self._open == "thinking" else []
        self._open = None
        return [*signature, frame("content_block_stop", {"index": self._index})]

    def _within(self, kind: str, block: Mapping[str, object]) -> list[str]:
        """Makes sure that a block of this kind is open."""
        if self._open == kind:
            return []
        closed = self.close()
        self._open, self._index = kind, self._index + 1
        return [*closed, frame("content_block_start", {"index": self._index, "content_block": block})]

    def _delta(self, kind: str, field: str, text: str) -> str:
        return frame("content_block_delta", {"index": self._index, "delta": {"type": kind, field: text}})


def frame(name: str, body: Mapping[str, object]) -> str:
    return f"event: {name}\ndata: {dumps({'type': name, **body})}\n\n"

"""A chat of several turns, with its messages remembered."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from divebell.engine.completion import Completion, ToolCall
from divebell.engine.engine import Stream
from divebell.errors import DivebellError
from divebell.text.events import CallArguments, CallStart, Content, Event, Reasoning
from divebell.text.parser import Parser

if TYPE_CHECKING:
    from divebell.engine.llm import LLM


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of the text as it comes, of the reasoning or of the answer."""

    text: str
    reasoning: bool


class Reply(Iterator[Piece]):
    """A streamed answer to a conversation. Closing it ends it. Calls of tools are in `completion` alone.

    must_call: it can be nothing but calls."""

    def __init__(self, stream: Stream, parser: Parser, must_call: bool = False):
        self._stream, self._parser, self._must_call = stream, parser, must_call
        self._pieces: list[Piece] = []
        self._answer = Answer()
        self._flushed = False

    def __next__(self) -> Piece:
        while not self._pieces:
            if self._flushed:
                raise StopIteration
            self._read()
        return self._pieces.pop(0)

    def _read(self) -> None:
        text = next(self._stream, None)
        self._flushed = text is None
        for event in self._parser.push(text) if text is not None else self._parser.flush(self._cut, self._must_call):
            self._answer.add(event)
            if isinstance(event, Reasoning | Content) and event.text:
                self._pieces.append(Piece(event.text, reasoning=isinstance(event, Reasoning)))

    @property
    def _cut(self) -> bool:
        generation = self._stream.generation
        return generation.finish_reason == "length" or generation.text.stop is not None

    @property
    def completion(self) -> Completion:
        """What has come so far, or all of it once the reply has ended."""
        answer = self._answer
        return replace(
            self._stream.completion, text=answer.text, reasoning=answer.reasoning, tool_calls=answer.tool_calls
        )

    def close(self) -> None:
        """Ends the answer where it is."""
        self._stream.close()

    def __enter__(self) -> "Reply":
        return self

    def __exit__(self, *_) -> None:
        self.close()


class Answer:
    """What the events of an answer add up to. items: in the order in which they came, text in one piece.

    reasoning: None where there was none.
    """

    def __init__(self):
        self.items: list[Reasoning | Content | ToolCall] = []

    def add(self, event: Event) -> None:
        match event:
            case Reasoning(text) | Content(text):
                goes_on = bool(self.items) and isinstance(self.items[-1], type(event))
                before = self.items.pop().text if goes_on else ""
                self.items.append(type(event)(before + text))
            case CallStart(_, name, id):
                self.items.append(ToolCall(name, "", id))
            case CallArguments(_, text):
                self.items[-1] = replace(self.items[-1], arguments=self.items[-1].arguments + text)

    @property
    def text(self) -> str:
        return "".join(item.text for item in self.items if isinstance(item, Content))

    @property
    def reasoning(self) -> str | None:
        thoughts = [item.text for item in self.items if isinstance(item, Reasoning)]
        return "".join(thoughts) if thoughts else None

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(item for item in self.items if isinstance(item, ToolCall))


class Conversation:
    """messages: all turns so far, in the form of `LLM.chat`. completion: of the latest answer."""

    def __init__(self, llm: "LLM", system: str | None = None):
        self._llm = llm
        self.completion: Completion | None = None
        self.messages = [{"role": "system", "content": system}] if system else []

    def say(self, text: str, **options) -> Iterator[Piece]:
        """Pieces of the answer to `text`. Ending it early keeps the turn as it is then; an error leaves no turn."""
        messages = [*self.messages, {"role": "user", "content": text}]
        reply = self._llm.reply(messages, **options)
        try:
            yield from reply
        except DivebellError:
            messages = None
            raise
        finally:
            reply.close()
            self.completion = reply.completion
            if messages:
                self.messages = [*messages, {"role": "assistant", "content": self.completion.text}]

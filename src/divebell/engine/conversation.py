"""A chat of several turns, with its messages remembered."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from divebell.engine.completion import Completion
from divebell.engine.engine import Stream
from divebell.errors import DivebellError

if TYPE_CHECKING:
    from divebell.engine.llm import LLM


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of the text as it comes, of the reasoning or of the answer."""

    text: str
    reasoning: bool


class Reply(Iterator[Piece]):
    """A streamed answer to a conversation. Closing it ends it."""

    def __init__(self, stream: Stream, splitter: object):
        self._stream, self._splitter = stream, splitter
        self._pieces: list[Piece] = []
        self._parts = ["", ""]
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
        parts = self._splitter.flush() if text is None else self._splitter.push(text)
        for index, part in enumerate(parts):
            self._parts[index] += part
            if part:
                self._pieces.append(Piece(part, reasoning=index == 0))

    @property
    def completion(self) -> Completion:
        """What has come so far, or all of it once the reply has ended."""
        reasoning, answer = self._parts
        return replace(self._stream.completion, text=answer, reasoning=reasoning if self._splitter.reasoned else None)

    def close(self) -> None:
        """Ends the answer where it is."""
        self._stream.close()

    def __enter__(self) -> "Reply":
        return self

    def __exit__(self, *_) -> None:
        self.close()


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

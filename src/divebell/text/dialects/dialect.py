"""What a dialect is: calls of tools told from text, written into a prompt, and enforced by a grammar."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence

from divebell.text.events import CallArguments, CallEnd, CallStart, Content
from divebell.text.lark import Lark
from divebell.text.reader import Reader, Steps
from divebell.text.tools import Tool, WrittenCall

LONGEST_NAME = 128


class Calls:
    """The calls of one answer, numbered as they begin. open: whether one has begun that has not ended."""

    def __init__(self, reader: Reader, tools: Sequence[Tool]):
        self._reader = reader
        self._schemas = {tool.name: tool.schema for tool in tools}
        self._index = -1
        self.open = False
        self._name = ""

    @property
    def begun(self) -> bool:
        """Whether one has begun."""
        return self._index >= 0

    def known(self, name: str) -> bool:
        return name in self._schemas

    def begin(self, name: str, id: str | None = None) -> CallStart:
        """From here on it is a call, whatever follows."""
        self._reader.settle()
        self._index, self._name, self.open = self._index + 1, name, True
        return CallStart(self._index, name, id)

    def arguments(self, text: str) -> CallArguments:
        return CallArguments(self._index, text)

    def end(self) -> CallEnd:
        self.open = False
        return CallEnd(self._index)

    def is_text(self, parameter: str) -> bool:
        """Whether the tool being called wants a string there."""
        properties = self._schemas.get(self._name, {}).get("properties")
        schema = properties.get(parameter) if isinstance(properties, dict) else None
        return isinstance(schema, dict) and schema.get("type") == "string"


def pass_end(reader: Reader, close: str, *others: str) -> Steps[None]:
    """Steps over the mark that ends a call. What a model writes in front of it is content; it may also be missing."""
    yield from reader.skip_space()
    if (yield from reader.take_end(close)):
        return
    if (yield from reader.text_before((close, *others), Content, drops_cut=True)) == close:
        yield from reader.skip_space()
        yield from reader.take(close)


class Dialect(ABC):
    """opens: the marks that a call, or several, may begin with. bare: it may also begin an answer without a mark.

    marks: control tokens that have to reach the parser as text; those of `opens` among them.
    ends_reasoning: a call within the reasoning is one: the marks are control tokens, and the end mark was forgotten.
    opening: what the texts of `grammar` begin with, but for line breaks, as far as it takes to know that a call comes;
    "" where nothing tells in time.
    """

    opens: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    bare = False
    ends_reasoning = False
    opening = ""

    @abstractmethod
    def read(self, reader: Reader, calls: Calls) -> Steps[bool]:
        """Yields the events of one call, or of several that belong together; False if none begins at the cursor."""

    @abstractmethod
    def written(self, calls: Sequence[WrittenCall]) -> str:
        """Calls as the model writes them, for a template that has no place for them."""

    @abstractmethod
    def grammar(self, tools: Sequence[Tool], parallel: bool, lark: Lark) -> str:
        """A Lark grammar of an answer that is one call, or with `parallel` one or more, of these tools."""

    def instructions(self, tools: Sequence[Tool]) -> str:
        """What a system message has to say of tools, for a template that has no place for them."""
        example = self.written([WrittenCall("name_of_function", '{"name_of_parameter": "value"}')])
        described = "\n".join(json.dumps(tool.described, ensure_ascii=False) for tool in tools)
        return (
            f"# Tools\n\nYou may call these functions, each described by a JSON schema:\n{described}\n\n"
            f"To call a function, write:\n{example}\n"
            "The arguments are valid JSON and follow the schema. The result is given to you in the next message."
        )

    def results(self, texts: Sequence[str]) -> str:
        """What tools returned, as a user's message, for a template that has no place for results."""
        return "\n".join(f"<tool_response>\n{text}\n</tool_response>" for text in texts)

"""What a parser makes of an answer, in a form that does not tell how the text came."""

import itertools
import json

from divebell.text.dialects import hermes, llama3, mistral, r1, v4, v31, v32
from divebell.text.events import CallArguments, CallEnd, CallStart, Content, Reasoning
from divebell.text.parser import Parser
from divebell.text.tools import tools_of

DIALECTS = {
    "r1": r1.DIALECT,
    "v31": v31.DIALECT,
    "v32": v32.DIALECT,
    "v4": v4.DIALECT,
    "llama3": llama3.DIALECT,
    "mistral listed": mistral.LISTED,
    "mistral named": mistral.NAMED,
    "hermes": hermes.DIALECT,
}
THINK = ("<think>", "</think>")


def described(name: str, **properties) -> dict:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": f"Does {name}.", "parameters": schema}}


WEATHER = described("get_weather", city={"type": "string"}, days={"type": "integer"})
SEARCH = described("search", query={"type": "string"}, options={"type": "object"})
TOOLS = [WEATHER, SEARCH]


def parser(dialect=None, opened: bool | None = None) -> Parser:
    """opened: the model reasons, and the prompt has opened it, or not."""
    tools = tools_of(TOOLS) if dialect else None
    return Parser(dialect, None if opened is None else THINK, bool(opened), tools)


def events(reading: Parser, pieces) -> list:
    return [*itertools.chain(*map(reading.push, pieces)), *reading.flush()]


def joined(found: list) -> list:
    """[("reasoning", text), ("content", text), (name, arguments, id), ...], pieces joined; calls as they began."""
    made: list = []
    for event in found:
        match event:
            case CallStart(index, name, id):
                assert index == sum(len(item) == 3 for item in made)
                made.append((name, "", id))
                open_call = index
            case CallArguments(index, text):
                assert index == open_call
                place = max(i for i, item in enumerate(made) if len(item) == 3)
                made[place] = (made[place][0], made[place][1] + text, made[place][2])
            case CallEnd(index):
                assert index == open_call
                open_call = None
            case Reasoning(text) | Content(text):
                kind = type(event).__name__.lower()
                if made and made[-1][0] == kind and len(made[-1]) == 2:
                    made[-1] = (kind, made[-1][1] + text)
                else:
                    made.append((kind, text))
    assert all(event.index == i for i, event in enumerate(e for e in found if isinstance(e, CallEnd)))
    return made


def parsed(text: str, dialect=None, opened: bool | None = None) -> list:
    """The same whether the text comes whole, in letters, or in two pieces split anywhere."""
    whole = joined(events(parser(dialect, opened), [text]))
    assert joined(events(parser(dialect, opened), text)) == whole
    for split in range(1, len(text)):
        assert joined(events(parser(dialect, opened), [text[:split], text[split:]])) == whole, split
    return whole


def call(name: str, id: str | None = None, **arguments) -> tuple:
    """A call as `joined` gives it where arguments were written by `json.dumps`."""
    return name, json.dumps(arguments, ensure_ascii=False), id

"""Tools as requests describe them, and calls of them as messages hold them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from divebell.errors import BadInput

NOT_IN_NAMES = "\"'<>{}[]()|｜`\\,;="


@dataclass(frozen=True, slots=True)
class Tool:
    """schema: JSON schema of the arguments, an object. described: the whole description, without OpenAI's wrapper."""

    name: str
    schema: dict
    described: dict


@dataclass(frozen=True, slots=True)
class WrittenCall:
    """A call in a message. arguments: JSON text of an object."""

    name: str
    arguments: str


def tools_of(described: Sequence[dict] | None) -> list[Tool]:
    """Tools from OpenAI's descriptions, with or without `{"type": "function", "function": ...}` around them.

    Raises BadInput naming the index and field.
    """
    return [tool_of(tool, f"tools[{index}]") for index, tool in enumerate(described or [])]


def tool_of(tool: dict, place: str) -> Tool:
    function = tool.get("function", tool)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise BadInput(f"{place}.function.name is missing: give the name of the tool")
    if not is_name(function["name"]):
        raise BadInput(
            f"{place}.function.name is {function['name']!r:.160}, by which calls can't be told from text: "
            f"give a name without spaces and without any of {NOT_IN_NAMES}"
        )
    schema = function.get("parameters") or {}
    if not isinstance(schema, dict):
        raise BadInput(f"{place}.function.parameters is {schema!r:.80}: give a JSON schema (a mapping)")
    if schema.get("type", "object") != "object":
        raise BadInput(f"{place}.function.parameters.type is {schema['type']!r:.80}; allowed: 'object'")
    if not isinstance(schema.get("properties", {}), dict):
        raise BadInput(f"{place}.function.parameters.properties is {schema['properties']!r:.80}: give a mapping")
    return Tool(function["name"], {"type": "object", "properties": {}, **schema}, function)


def is_name(text: str | None) -> bool:
    """Whether this could be the name of a tool, even of one that is not there."""
    return bool(text) and text.isprintable() and not any(one.isspace() or one in NOT_IN_NAMES for one in text)


def chosen(tools: Sequence[Tool], choice: object) -> list[Tool]:
    """The tools that `tool_choice` leaves: "required", or one by name as OpenAI's APIs write it.

    Raises BadInput for anything else.
    """
    if not tools:
        raise BadInput(f"tool_choice is {choice!r:.80}, but there are no tools: give some, or leave tool_choice out")
    if choice == "required":
        return list(tools)
    named = choice.get("function", choice) if isinstance(choice, dict) else None
    name = named.get("name") if isinstance(named, dict) else None
    found = [tool for tool in tools if tool.name == name]
    if not found:
        allowed = ", ".join(repr(tool.name) for tool in tools)
        raise BadInput(
            f"tool_choice is {choice!r:.80}; allowed: 'required', or the name of one of the tools: {allowed}"
        )
    return found


def calls_of(message: dict) -> list[WrittenCall]:
    """The calls of a checked message."""
    functions = [call.get("function", call) for call in message.get("tool_calls") or []]
    return [WrittenCall(function["name"], arguments_text(function.get("arguments"))) for function in functions]


def arguments_text(arguments: object) -> str:
    """JSON text of an object. What a model broke off, so that it is none, becomes a member named `arguments`."""
    if isinstance(arguments, dict):
        return json.dumps(arguments, ensure_ascii=False)
    return arguments if is_object(arguments) else as_member(arguments)


def arguments_mapping(arguments: object) -> dict:
    """Halves of surrogate pairs in JSON text, which no encoding can hold, become U+FFFD."""
    if isinstance(arguments, dict):
        return arguments
    said = json.dumps(json.loads(arguments_text(arguments)), ensure_ascii=False)
    return json.loads(said.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def is_object(text: object) -> bool:
    """Whether it is JSON text of one; NaN and infinities are not JSON."""
    try:
        found = json.loads(text)
        json.dumps(found, allow_nan=False)
        return isinstance(found, dict)
    except (ValueError, TypeError, RecursionError):
        return False


def as_member(text: str | None) -> str:
    return json.dumps({"arguments": text}, ensure_ascii=False) if text and text.strip() else "{}"

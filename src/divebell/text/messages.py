"""Chat messages as people pass them: checked, and made into the plain data that a template sees."""

import dataclasses
from collections.abc import Mapping

from divebell.errors import BadInput

ROLES = ("system", "developer", "user", "assistant", "tool", "function", "ipython", "latest_reminder")
REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")
MEDIA = ("image", "image_url", "input_image", "audio", "input_audio", "video", "video_url", "file", "input_file")
DEEPEST = 64


def checked_messages(messages) -> list[dict]:
    """Plain copies of `messages`, each a mapping with a known `role` and `content`.

    Content is text, a list of parts, or, in an assistant's message that calls tools or reasons, missing.
    Raises BadInput naming the index and the field.
    """
    if isinstance(messages, str | bytes | Mapping) or not hasattr(messages, "__iter__"):
        raise BadInput(f"messages is {kind(messages)}: give a list like [{{'role': 'user', 'content': 'Hello'}}]")
    checked = [checked_message(message, f"messages[{index}]") for index, message in enumerate(messages)]
    if not checked:
        raise BadInput("messages is empty: give at least one message")
    check_results(checked)
    return checked


def checked_message(message, place: str) -> dict:
    message = plain(message, place)
    if not isinstance(message, dict):
        raise BadInput(f"{place} is {kind(message)}: give a mapping with 'role' and 'content'")
    role = message.get("role")
    if role not in ROLES:
        raise BadInput(f"{place}.role is {role!r}; allowed: {', '.join(ROLES)}")
    check_content(message, place)
    if message.get("tool_calls") is not None:
        check_tool_calls(message["tool_calls"], f"{place}.tool_calls")
    return message


def check_content(message: dict, place: str) -> None:
    content = message.get("content")
    if content is None:
        says_more = message.get("tool_calls") or any(message.get(field) for field in REASONING_FIELDS)
        if message["role"] == "assistant" and says_more:
            return
        raise BadInput(f"{place}.content is missing: give the {message['role']}'s text")
    if isinstance(content, list):
        for index, part in enumerate(content):
            if not isinstance(part, dict) or not isinstance(part.get("type"), str):
                raise BadInput(f"{place}.content[{index}] is {part!r:.80}: give a mapping with a 'type'")
            if part["type"] in MEDIA:
                raise BadInput(f"{place}.content[{index}].type is {part['type']!r}; this model reads 'text' alone")
    elif not isinstance(content, str):
        raise BadInput(f"{place}.content is {kind(content)}: give text or a list of parts")


def check_tool_calls(calls, place: str) -> None:
    if not isinstance(calls, list):
        raise BadInput(f"{place} is {kind(calls)}: give a list")
    for index, call in enumerate(calls):
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise BadInput(f"{place}[{index}].function.name is missing: give the name of the tool")
        if not isinstance(function.get("arguments", ""), str | dict):
            wrong = kind(function["arguments"])
            raise BadInput(f"{place}[{index}].function.arguments is {wrong}: give JSON text of an object")


def check_results(messages: list[dict]) -> None:
    """Every result of a tool answers a call of the assistant's message before it."""
    ids: set | None = None
    for index, message in enumerate(messages):
        if message["role"] != "tool":
            calls = message.get("tool_calls") or []
            ids = {call.get("id") for call in calls} if calls else None
            continue
        if ids is None:
            raise BadInput(f"messages[{index}].role is 'tool', but the assistant's message before it calls none")
        answered = message.get("tool_call_id")
        if answered is not None and None not in ids and answered not in ids:
            raise BadInput(f"messages[{index}].tool_call_id is {answered!r:.80}; no call before it has this id")


def checked_tools(tools) -> list[dict] | None:
    """Plain copies of tool descriptions (JSON schemas), or None. Raises BadInput naming the index."""
    if tools is None:
        return None
    if not isinstance(tools, list | tuple):
        raise BadInput(f"tools is {kind(tools)}: give a list of JSON schemas")
    for index, tool in enumerate(tools):
        if not isinstance(tool, Mapping):
            raise BadInput(f"tools[{index}] is {kind(tool)}: give a mapping (a JSON schema)")
    return plain(list(tools), "tools")


def plain(value, place: str, depth: int = 0):
    """Built-in types only, so that no method of a richer object is in a template's reach."""
    if depth > DEEPEST:
        raise BadInput(f"{place} is nested deeper than {DEEPEST}")
    if value is None or isinstance(value, bool):
        return value
    for basic in (str, int, float):
        if isinstance(value, basic):
            return basic(value) if basic is not str else str.__str__(value)
    if isinstance(value, Mapping):
        return {plain(key, place, depth + 1): plain(item, place, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type_of_sequence(value)(plain(item, place, depth + 1) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name), place, depth + 1) for field in dataclasses.fields(value)}
    if callable(getattr(value, "model_dump", None)):
        return plain(value.model_dump(), place, depth + 1)
    raise BadInput(f"{place} holds {kind(value)}: give text, numbers, lists and mappings only")


def type_of_sequence(value: list | tuple) -> type:
    return list if isinstance(value, list) else tuple


def for_template(message: dict) -> dict:
    """As `transformers` hands a message to a template: without None, and with reasoning under each of its names."""
    message = {key: value for key, value in message.items() if value is not None}
    reasoning = next((message[field] for field in REASONING_FIELDS if field in message), None)
    return message if reasoning is None else {"thinking": reasoning, **message, "reasoning_content": reasoning}


def plainer(messages: list[dict]) -> list[list[dict]]:
    """Other spellings of the same messages, for templates that can't take the usual one.

    Older templates test `content is none` in a message that only calls tools, others join it to text, and most know
    nothing of content in parts. Empty when the messages have neither.
    """
    usual = [for_template(message) for message in messages]
    joined = [message | {"content": joined_parts(message.get("content"))} for message in usual]
    spellings = [[{"content": None, **message} for message in joined]]
    spellings += [[message | {"content": message["content"] or ""} for message in joined]]
    return [spelling for spelling in spellings if spelling != usual]


def joined_parts(content):
    """The lines of text parts; anything else as it is."""
    if isinstance(content, list) and all(isinstance(part.get("text"), str) for part in content):
        return "\n".join(part["text"] for part in content)
    return content


def kind(value) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"

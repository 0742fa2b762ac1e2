"""What the prompts of DeepSeek-V3.2 and V4 have in common, for which the releases have code instead of a template."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from divebell.errors import BadInput
from divebell.text.dialects.dsml import Dsml
from divebell.text.messages import for_template
from divebell.text.tools import Tool, calls_of

BEGIN, END = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
USER, ASSISTANT = "<｜User｜>", "<｜Assistant｜>"
OPEN, CLOSE = "<think>", "</think>"
SPEAKERS = ("user", "developer")
EFFORTS = {None: False, "minimal": False, "low": False, "medium": False, "high": False, "xhigh": True, "max": True}
RESPONSE_FORMAT = "## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n"


@dataclass(frozen=True, slots=True)
class Options:
    """thinking: the answer begins with reasoning. utmost: with all that it takes. asks: the answer comes next."""

    thinking: bool
    utmost: bool
    asks: bool


def options(variables: dict, asks: bool) -> Options:
    """From `thinking` or `enable_thinking` (on by default) and `reasoning_effort`. Raises BadInput naming others."""
    known = {"thinking", "enable_thinking", "reasoning_effort"}
    for name in variables:
        if name not in known:
            raise BadInput(f"template variable {name!r} means nothing to this model; known: {', '.join(sorted(known))}")
    effort = variables.get("reasoning_effort")
    thinking = bool(variables.get("thinking", variables.get("enable_thinking", effort != "none")))
    if effort != "none" and effort not in EFFORTS:
        raise BadInput(f"reasoning_effort is {effort!r}; allowed: none, {', '.join(filter(None, EFFORTS))}")
    return Options(thinking, utmost=thinking and effort != "none" and EFFORTS[effort], asks=asks)


def prepared(messages: Sequence[dict], tools: Sequence[Tool], roles: Iterable[str]) -> list[dict]:
    """Messages with text as content, and with the tools in the system message. Raises BadInput for other roles.

    A developer's message that opens the conversation, for a user to go on, is a system message, as OpenAI means it;
    elsewhere it is the user's turn with tools of its own, as DeepSeek means it.
    """
    for index, message in enumerate(messages):
        if message["role"] not in roles:
            raise BadInput(f"messages[{index}].role is {message['role']!r}; this model knows: {', '.join(roles)}")
    turns = [{**for_template(message), "content": text_of(message, i)} for i, message in enumerate(messages)]
    if turns[0]["role"] == "developer" and len(turns) > 1 and turns[1]["role"] == "user":
        turns[0]["role"] = "system"
    if tools and turns[0]["role"] != "system":
        turns.insert(0, {"role": "system", "content": ""})
    if tools:
        turns[0]["tools"] = [{"function": tool.described} for tool in tools]
    return turns


def text_of(message: dict, index: int) -> str:
    content = message.get("content")
    if not isinstance(content, list):
        return content or ""
    for place, part in enumerate(content):
        if not isinstance(part.get("text"), str):
            raise BadInput(
                f"messages[{index}].content[{place}].type is {part['type']!r}; this model reads 'text' alone"
            )
    return "\n".join(part["text"] for part in content)


def last_speaker(turns: Sequence[dict]) -> int:
    return max((i for i, turn in enumerate(turns) if turn["role"] in SPEAKERS), default=-1)


def in_order_of_calls(results: Sequence[dict], caller: dict) -> list[dict]:
    """A tool's results stand in the order of the calls, which is all that tells the model which is which."""
    ids = [call.get("id") for call in caller.get("tool_calls") or []]
    places = {id: place for place, id in enumerate(ids)}
    return sorted(results, key=lambda result: places.get(result.get("tool_call_id"), 0))


def additions(turn: dict, template: str) -> list[str]:
    """What a message says of tools and of the form of answers."""
    parts = []
    if turn.get("tools"):
        described = [tool.get("function", tool) for tool in turn["tools"]]
        parts.append(template % "\n".join(json.dumps(tool, ensure_ascii=False) for tool in described))
    if turn.get("response_format"):
        parts.append(RESPONSE_FORMAT + json.dumps(turn["response_format"], ensure_ascii=False))
    return parts


def calls_text(turn: dict, dialect: Dsml) -> str:
    return "\n\n" + dialect.written(calls_of(turn)) if turn.get("tool_calls") else ""


def joined(turns: Sequence[dict], text: Callable[[int, dict], str]) -> str:
    return BEGIN + "".join(text(i, turn) for i, turn in enumerate(turns))

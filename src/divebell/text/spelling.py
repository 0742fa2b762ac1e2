"""Calls and results of tools, spelled as a chat template takes them, which is found out by trying.

Templates differ: some want arguments as text and some as a mapping, some lose calls beside content or call content that
is missing by another name, and some know nothing of tools at all and would drop them without a word.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from divebell.errors import BadInput, BadTemplate
from divebell.text.dialects.dialect import Dialect
from divebell.text.messages import joined_parts
from divebell.text.tools import arguments_mapping, arguments_text, calls_of, tools_of

KEY, VALUE, NAME, WORDS = "probe_key", "probe_value", "probe_name", "probe_words"
USER = {"role": "user", "content": "Hello"}
SAID = {"role": "assistant", "content": "probe_said"}
RESULT = {"role": "tool", "name": NAME, "tool_call_id": "probe0000", "content": WORDS}
TOOL = {"type": "function", "function": {"name": NAME, "description": WORDS, "parameters": {"type": "object"}}}
Render = Callable[[list[dict], list[dict] | None], str]


@dataclass(frozen=True, slots=True)
class Spelling:
    """What a template has a place for.

    arguments: how it takes them, as text or as a mapping; None: it has no place for calls. empty: the content of a
    message that only calls. beside: content may stand beside calls; before: it may in a message of its own before them.
    """

    tools: bool
    results: bool
    arguments: Callable[[object], object] | None
    empty: str | None = None
    beside: bool = True
    before: bool = True


def spelling_of(render: Render) -> Spelling:
    """render: (messages, tools) to a prompt, raising BadInput or BadTemplate."""
    tried = Tried(render)
    tools = NAME in tried([USER], [TOOL])
    for arguments in (arguments_text, arguments_mapping):
        for empty in (None, ""):
            if shows_call(tried([USER, calling(arguments, empty), RESULT])):
                call = calling(arguments, empty)
                together = tried([USER, call | {"content": SAID["content"]}, RESULT])
                beside = shows_call(together) and SAID["content"] in together
                before = shows_call(tried([USER, SAID, call, RESULT, SAID]))
                return Spelling(tools, WORDS in tried([USER, call, RESULT]), arguments, empty, beside, before)
    return Spelling(tools, results=False, arguments=None)


class Tried:
    def __init__(self, render: Render):
        self._render = render

    def __call__(self, messages: list[dict], tools: list[dict] | None = None) -> str:
        """The prompt, or "" where the template refuses or fails."""
        try:
            return self._render(messages, tools)
        except (BadInput, BadTemplate):
            return ""


def calling(arguments: Callable[[object], object], content: str | None) -> dict:
    function = {"name": NAME, "arguments": arguments({KEY: VALUE})}
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [{"id": "probe0000", "type": "function", "function": function}],
    }


def shows_call(prompt: str) -> bool:
    """Whether the call is there, and not with JSON text inside of JSON text."""
    return all(word in prompt for word in (NAME, KEY, VALUE)) and f'\\"{KEY}' not in prompt


class Speller:
    def __init__(self, spelling: Spelling, dialect: Dialect):
        self._spelling, self._dialect = spelling, dialect

    def spelled(self, messages: Sequence[dict], tools: Sequence[dict] | None) -> list[dict]:
        """The messages for the template. `tools` are put into the system message where it has no place for them."""
        turns = [turn for message in messages for turn in self._calls(message)]
        if not self._spelling.results:
            turns = list(self._results_as_user(turns))
        if tools and not self._spelling.tools:
            turns = with_system(turns, self._dialect.instructions(tools_of(tools)))
        return turns

    def _calls(self, message: dict) -> Iterator[dict]:
        if not message.get("tool_calls"):
            yield message
        elif self._spelling.arguments is None:
            parts = [joined_parts(message.get("content")), self._dialect.written(calls_of(message))]
            rest = {key: value for key, value in message.items() if key != "tool_calls"}
            yield rest | {"content": "\n".join(filter(None, parts))}
        else:
            yield from self._native(message)

    def _native(self, message: dict) -> Iterator[dict]:
        content = message.get("content") or None
        if content and not self._spelling.beside:
            if self._spelling.before:
                yield {key: value for key, value in message.items() if key != "tool_calls"}
            content = None  # the call is what has to be there
        calls = [self._call(call) for call in message["tool_calls"]]
        yield message | {"content": content or self._spelling.empty, "tool_calls": calls}

    def _call(self, call: dict) -> dict:
        function = call.get("function", call)
        spelled = function | {"arguments": self._spelling.arguments(function.get("arguments"))}
        if "function" not in call:
            return {"type": "function", **{key: call[key] for key in ("id",) if key in call}, "function": spelled}
        return {"type": "function", **call, "function": spelled}

    def _results_as_user(self, turns: Sequence[dict]) -> Iterator[dict]:
        results: list[str] = []
        for turn in [*turns, None]:
            if turn is not None and turn["role"] == "tool":
                results.append(joined_parts(turn["content"]))
                continue
            if results:
                yield {"role": "user", "content": self._dialect.results(results)}
                results = []
            if turn is not None:
                yield turn


def with_system(turns: list[dict], text: str) -> list[dict]:
    first = turns[0]
    if first["role"] != "system":
        return [{"role": "system", "content": text}, *turns]
    return [first | {"content": f"{joined_parts(first['content'])}\n\n{text}"}, *turns[1:]]


def with_short_ids(messages: Sequence[dict]) -> list[dict]:
    """Mistral's templates want ids of nine letters and digits; the same id stays the same."""
    return [with_short_id(message, index) for index, message in enumerate(messages)]


def with_short_id(message: dict, index: int) -> dict:
    if message.get("tool_calls"):
        calls = [
            call | {"id": short_id(call.get("id") or f"{index}:{place}")}
            for place, call in enumerate(message["tool_calls"])
        ]
        return message | {"tool_calls": calls}
    return message | {"tool_call_id": short_id(message["tool_call_id"])} if message.get("tool_call_id") else message


def short_id(id: object) -> str:
    id = str(id)
    if len(id) == 9 and id.isascii() and id.isalnum():
        return id
    return hashlib.sha256(id.encode("utf-8", "replace")).hexdigest()[:9]


def is_plain(messages: Sequence[dict], tools: Sequence[dict] | None) -> bool:
    """Whether there is nothing of tools."""
    return not tools and not any(message["role"] == "tool" or message.get("tool_calls") for message in messages)

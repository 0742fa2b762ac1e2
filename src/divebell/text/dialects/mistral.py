"""Mistral: `[TOOL_CALLS]` and a list of JSON calls; since version 11 of its tokenizer `[TOOL_CALLS]` f `[ARGS]` {}.

Source: mistral-common, tokens/tokenizers/instruct.py. Both are read whichever a model was taught.
"""

from collections.abc import Sequence

from divebell.text.dialects import json_call
from divebell.text.dialects.dialect import LONGEST_NAME, Calls, Dialect
from divebell.text.json_text import pass_value
from divebell.text.lark import Lark, any_of, json_rule, repeated
from divebell.text.reader import Reader, Steps
from divebell.text.tools import Tool, WrittenCall, is_name

OPEN, ARGUMENTS, ID = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"


class Mistral(Dialect):
    opens = (OPEN,)
    marks = (OPEN, ARGUMENTS, ID)
    ends_reasoning = True
    opening = OPEN

    def read(self, reader: Reader, calls: Calls) -> Steps[bool]:
        yield from reader.take(OPEN)
        yield from reader.skip_space()
        letter = yield from reader.next_letter()
        if letter and letter in "[{":
            return (yield from json_call.read_several(reader, calls))
        return (yield from self._named(reader, calls))

    def _named(self, reader: Reader, calls: Calls) -> Steps[bool]:
        name = yield from reader.word((ARGUMENTS, ID, "{"), LONGEST_NAME)
        id = None
        if (yield from reader.take(ID)):
            id = yield from reader.word((ARGUMENTS,), LONGEST_NAME)
        yield from reader.take(ARGUMENTS)
        yield from reader.skip_space()
        if name is None or not is_name(name.strip()) or (yield from reader.next_letter()) != "{":
            return False
        yield calls.begin(name.strip(), id)
        yield from pass_value(reader, calls.arguments)
        yield calls.end()
        return True


class Listed(Mistral):
    """Up to version 10."""

    def written(self, calls: Sequence[WrittenCall]) -> str:
        return f"{OPEN} [{', '.join(json_call.written(call, 'arguments') for call in calls)}]"

    def grammar(self, tools: Sequence[Tool], parallel: bool, lark: Lark) -> str:
        heads = [lark.text(json_call.head(tool.name, "arguments")) for tool in tools]
        return "\n".join(
            [
                f'start: {lark.text(OPEN)} /[ ]?/ "[" {repeated("call", lark.text(", "), parallel)} "]"',
                rf'call: {any_of(tools, "tool")} /(, "id": "[a-zA-Z0-9]{{9}}")?\}}/',
                *(f"tool_{i}: {head} arguments_{i}" for i, head in enumerate(heads)),
                *(f"arguments_{i}: {json_rule(tool.schema)}" for i, tool in enumerate(tools)),
            ]
        )


class Named(Mistral):
    """From version 11 on."""

    def written(self, calls: Sequence[WrittenCall]) -> str:
        return "".join(f"{OPEN}{call.name}{ARGUMENTS}{call.arguments}" for call in calls)

    def grammar(self, tools: Sequence[Tool], parallel: bool, lark: Lark) -> str:
        heads = [lark.text(f"{OPEN}{tool.name}{ARGUMENTS}") for tool in tools]
        return "\n".join(
            [
                f"start: {repeated(any_of(tools, 'tool'), '', parallel)}",
                *(f"tool_{i}: {head} arguments_{i}" for i, head in enumerate(heads)),
                *(f"arguments_{i}: {json_rule(tool.schema)}" for i, tool in enumerate(tools)),
            ]
        )


LISTED, NAMED = Listed(), Named()

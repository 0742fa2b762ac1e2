"""Hermes, Qwen and many others: `<tool_call>` {"name": "f", "arguments": {"a": 1}} `</tool_call>`.

Sources: NousResearch Hermes-Function-Calling, README; the chat templates of Qwen 2.5 and Qwen 3.
"""

from collections.abc import Sequence

from divebell.text.dialects import json_call
from divebell.text.dialects.dialect import Calls, Dialect, pass_end
from divebell.text.lark import Lark, any_of, json_rule, repeated
from divebell.text.reader import Reader, Steps
from divebell.text.tools import Tool, WrittenCall

OPEN, CLOSE = "<tool_call>", "</tool_call>"


class Hermes(Dialect):
    opens = (OPEN,)
    marks = (OPEN, CLOSE)
    opening = OPEN

    def read(self, reader: Reader, calls: Calls) -> Steps[bool]:
        yield from reader.take(OPEN)
        yield from reader.skip_space()
        if not (yield from json_call.read_several(reader, calls)):
            return False
        yield from pass_end(reader, CLOSE, OPEN)
        return True

    def written(self, calls: Sequence[WrittenCall]) -> str:
        return "\n".join(f"{OPEN}\n{json_call.written(call, 'arguments')}\n{CLOSE}" for call in calls)

    def grammar(self, tools: Sequence[Tool], parallel: bool, lark: Lark) -> str:
        call = f"{lark.text(OPEN)} {any_of(tools, 'tool')} {lark.text(CLOSE)}"
        calls = repeated("call", lark.text("\n"), parallel)  # a line end after a call need not begin another one
        heads = [lark.text("\n" + json_call.head(tool.name, "arguments")) for tool in tools]
        return "\n".join(
            [
                rf"start: /\n{{0,2}}/ {calls} /\n?/",
                f"call: {call}",
                *(f'tool_{i}: {head} arguments_{i} "}}\\n"' for i, head in enumerate(heads)),
                *(f"arguments_{i}: {json_rule(tool.schema)}" for i, tool in enumerate(tools)),
            ]
        )


DIALECT = Hermes()

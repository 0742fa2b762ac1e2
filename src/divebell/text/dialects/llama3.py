"""Llama 3.1 and later: the answer is {"name": "f", "parameters": {"a": 1}}, at times after `<|python_tag|>`.

Source: meta-llama/llama-models, models/llama3_1/prompt_format.md. Several calls stand with `;` between them, though the
models are taught one for each answer, and one is all that the grammar allows.
"""

from collections.abc import Sequence

from divebell.text.dialects import json_call
from divebell.text.dialects.dialect import Calls, Dialect
from divebell.text.lark import Lark, any_of, json_rule
from divebell.text.reader import Reader, Steps
from divebell.text.tools import Tool, WrittenCall

TAG = "<|python_tag|>"


class Llama3(Dialect):
    opens = (TAG,)
    marks = (TAG,)
    bare = True

    def read(self, reader: Reader, calls: Calls) -> Steps[bool]:
        tagged = yield from reader.take(TAG)
        yield from reader.skip_space()
        if not (yield from json_call.read(reader, calls, known_only=not tagged)):
            return False
        while (yield from self._another(reader, calls)):
            pass
        return True

    def _another(self, reader: Reader, calls: Calls) -> Steps[bool]:
        reader.keep()
        yield from reader.skip_space()
        found = yield from reader.take(";")
        yield from reader.skip_space()
        found = found and (yield from json_call.read(reader, calls, known_only=True))
        reader.let_go() if found else reader.go_back()
        return found

    def written(self, calls: Sequence[WrittenCall]) -> str:
        return "; ".join(json_call.written(call, "parameters") for call in calls)

    def grammar(self, tools: Sequence[Tool], parallel: bool, lark: Lark) -> str:
        heads = [lark.text(json_call.head(tool.name, "parameters")) for tool in tools]
        return "\n".join(
            [
                rf"start: /\n{{0,2}}/ {any_of(tools, 'tool')}",
                *(f'tool_{i}: {head} arguments_{i} "}}"' for i, head in enumerate(heads)),
                *(f"arguments_{i}: {json_rule(tool.schema)}" for i, tool in enumerate(tools)),
            ]
        )


DIALECT = Llama3()

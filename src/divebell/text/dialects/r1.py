"""DeepSeek-V3 and DeepSeek-R1: a call has a type, a name, and its arguments in a fence, between control tokens.

Source: the chat templates of DeepSeek-V3 and DeepSeek-R1. What V3.1 writes is read too: a name and bare arguments.
"""

from collections.abc import Sequence

from divebell.text.dialects.dialect import LONGEST_NAME, Calls, Dialect, pass_end
from divebell.text.json_text import pass_value
from divebell.text.lark import Lark, any_of, json_rule, repeated
from divebell.text.reader import Reader, Steps
from divebell.text.tools import Tool, WrittenCall, is_name

CALLS, CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL, CALL_END = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
SEPARATOR = "<｜tool▁sep｜>"
FENCE = "```"


class DeepSeek(Dialect):
    opens = (CALLS, CALL)
    marks = (CALLS, CALLS_END, CALL, CALL_END, SEPARATOR)
    ends_reasoning = True
    opening = CALLS
    between = ""

    def read(self, reader: Reader, calls: Calls) -> Steps[bool]:
        yield from reader.take(CALLS)
        found = False
        while (yield from self._one(reader, calls)):
            found = True
        if found:
            yield from reader.skip_space()
            yield from reader.take_end(CALLS_END)
        return found

    def _one(self, reader: Reader, calls: Calls) -> Steps[bool]:
        reader.keep()
        yield from reader.skip_space()
        name, fenced = yield from self._header(reader)
        if not is_name(name) or (yield from reader.next_letter()) != "{":
            reader.go_back()
            return False
        yield calls.begin(name)
        yield from pass_value(reader, calls.arguments)
        yield calls.end()
        if fenced:
            yield from reader.skip_space()
            yield from reader.take_end(FENCE)
        yield from pass_end(reader, CALL_END, CALL, CALLS_END)
        return True

    def _header(self, reader: Reader) -> Steps[tuple[str | None, bool]]:
        """(name, whether a fence is around the arguments), up to these."""
        head = (yield from reader.take(CALL)) and (yield from reader.word((SEPARATOR,), LONGEST_NAME))
        if not head or not (yield from reader.take(SEPARATOR)):
            return None, False
        yield from reader.skip_space()
        if (yield from reader.next_letter()) == "{":
            return head.strip(), False
        if head.strip() != "function":
            return None, False
        name = yield from reader.word(("\n", FENCE, "{"), LONGEST_NAME)
        yield from reader.skip_space()
        fenced = (yield from reader.take(FENCE)) and ((yield from reader.take("json")) or True)
        yield from reader.skip_space()
        return name and name.strip(), fenced

    def written(self, calls: Sequence[WrittenCall]) -> str:
        return CALLS + self.between.join(self.one(call.name, call.arguments) for call in calls) + CALLS_END

    def one(self, name: str, arguments: str) -> str:
        return f"{CALL}function{SEPARATOR}{name}\n{FENCE}json\n{arguments}\n{FENCE}{CALL_END}"

    def grammar(self, tools: Sequence[Tool], parallel: bool, lark: Lark) -> str:
        parts = [self.one(tool.name, "\0").split("\0") for tool in tools]
        calls = repeated(any_of(tools, "tool"), self.between and lark.text(self.between), parallel)
        return "\n".join(
            [
                rf"start: /\n{{0,2}}/ {lark.text(CALLS)} {calls} {lark.text(CALLS_END)}",
                *(f"tool_{i}: {lark.text(a)} arguments_{i} {lark.text(b)}" for i, (a, b) in enumerate(parts)),
                *(f"arguments_{i}: {json_rule(tool.schema)}" for i, tool in enumerate(tools)),
            ]
        )


class R1(DeepSeek):
    between = "\n"


DIALECT = R1()

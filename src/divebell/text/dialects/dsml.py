"""DSML, in which DeepSeek-V3.2 and V4 call tools: tags with a control token in them, an element for each parameter.

Source: encoding/encoding_dsv32.py and encoding/encoding_dsv4.py of the releases, whose prompts `written` is part of.
"""

import json
from collections.abc import Sequence

from divebell.text.dialects.dialect import LONGEST_NAME, Calls, Dialect
from divebell.text.dialects.dsml_grammar import DsmlGrammar
from divebell.text.events import Content, Event
from divebell.text.json_text import INVALID, parsed
from divebell.text.lark import Lark
from divebell.text.reader import Reader, Steps
from divebell.text.tools import Tool, WrittenCall, is_name

DSML = "｜DSML｜"
INVOKE, INVOKE_END = f"<{DSML}invoke", f"</{DSML}invoke>"
PARAMETER, PARAMETER_END = f"<{DSML}parameter", f"</{DSML}parameter>"
STRING = {"true": ' string="true">', "false": ' string="false">'}


class Dsml(Dialect):
    """block: what the element is called that stands around the calls."""

    marks = (DSML,)
    ends_reasoning = True
    opening = f"\n\n<{DSML}"

    def __init__(self, block: str):
        self.block, self.block_end = f"<{DSML}{block}>", f"</{DSML}{block}>"
        self.opens = (self.block, INVOKE)

    def read(self, reader: Reader, calls: Calls) -> Steps[bool]:
        """Elements may be left open: the next that begins, or an outer one's end, ends them."""
        yield from reader.take(self.block)
        yield from reader.skip_space()
        if not (yield from self._invoke(reader, calls)):
            return False
        yield from reader.skip_space()
        while True:
            mark = yield from reader.text_before((INVOKE, self.block_end), Content, drops_cut=True)
            yield from reader.skip_space()
            if mark != INVOKE:
                yield from reader.take(self.block_end)
                return True
            if not (yield from self._invoke(reader, calls)):
                yield from self._no_tag(reader, INVOKE)

    def _invoke(self, reader: Reader, calls: Calls) -> Steps[bool]:
        reader.keep()
        name = yield from self._named(reader, INVOKE)
        yield from reader.skip_space()
        if not is_name(name) or not (yield from reader.take(">")):
            reader.go_back()
            return False
        yield calls.begin(name)
        yield calls.arguments("{")
        yield from self._parameters(reader, calls)
        yield calls.arguments("}")
        yield calls.end()
        return True

    def _named(self, reader: Reader, tag: str) -> Steps[str | None]:
        """The name in `tag name="..."`."""
        if not (yield from reader.take(f'{tag} name="')):
            return None
        name = yield from reader.word(('"',), LONGEST_NAME)
        yield from reader.take('"')
        return name

    def _parameters(self, reader: Reader, calls: Calls) -> Steps[None]:
        marks = (PARAMETER, INVOKE_END, INVOKE, self.block_end)
        separator = ""
        yield from reader.skip_space()
        while True:
            mark = yield from reader.text_before(marks, Content, drops_cut=True)
            yield from reader.skip_space()
            if mark != PARAMETER:
                yield from reader.take(INVOKE_END)
                return
            if (yield from self._parameter(reader, calls, separator)):
                separator = ", "
                yield from reader.skip_space()
            else:
                yield from self._no_tag(reader, PARAMETER)

    def _parameter(self, reader: Reader, calls: Calls, separator: str) -> Steps[bool]:
        reader.keep()
        name = yield from self._named(reader, PARAMETER)
        kind = (yield from self._kind(reader)) if name else None
        if kind is None:
            reader.go_back()
            return False
        reader.settle()
        yield calls.arguments(f"{separator}{json_of(name)}: ")
        if kind == "true" or (kind == "" and calls.is_text(name)):
            yield calls.arguments('"')
            yield from self._value(reader, lambda text: calls.arguments(json_of(text)[1:-1]))
            yield calls.arguments('"')
        else:
            parts: list[str] = []
            yield from self._value(reader, parts.append)
            text = "".join(parts).strip()
            yield calls.arguments(json_of(text) if parsed(text) is INVALID else text)
        return True

    def _no_tag(self, reader: Reader, mark: str) -> Steps[None]:
        """What goes on otherwise is content; a tag that the end of the text cuts off is not."""
        text = Content(reader.take_text(len(mark)))
        if reader.ended:
            reader.take_all()
        else:
            yield text

    def _kind(self, reader: Reader) -> Steps[str | None]:
        """What the attribute `string` says, "" where there is none."""
        for kind, attribute in STRING.items():
            if (yield from reader.take(attribute)):
                return kind
        yield from reader.skip_space()
        return "" if (yield from reader.take(">")) else None

    def _value(self, reader: Reader, event) -> Steps[Event | None]:
        marks = (PARAMETER_END, INVOKE_END, self.block_end)
        yield from reader.text_before(marks, event, holds_space=False, drops_cut=True)
        yield from reader.take(PARAMETER_END)

    def written(self, calls: Sequence[WrittenCall]) -> str:
        invokes = [f'{INVOKE} name="{call.name}">\n{parameters(call.arguments)}\n{INVOKE_END}' for call in calls]
        return "\n".join([self.block, *invokes, self.block_end])

    def grammar(self, tools: Sequence[Tool], parallel: bool, lark: Lark) -> str:
        return DsmlGrammar(self.block, self.block_end, lark).write(tools, parallel)


def parameters(arguments: str) -> str:
    """A line for each member of the JSON object `arguments`."""
    return "\n".join(
        f'{PARAMETER} name="{name}"{STRING["true"]}{value}{PARAMETER_END}'
        if isinstance(value, str)
        else f'{PARAMETER} name="{name}"{STRING["false"]}{json_of(value)}{PARAMETER_END}'
        for name, value in json.loads(arguments).items()
    )


def json_of(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)

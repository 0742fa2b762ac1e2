import json
import re

import pytest
from answers import DIALECTS, SEARCH, TOOLS, WEATHER, call, described, events, joined, parser
from guidance import Judge
from small_tokenizers import byte_level_library

from divebell.errors import BadInput
from divebell.text.chat import ChatFormat
from divebell.text.detokenizer import byte_level_bytes
from divebell.text.dialects.dialect import Dialect
from divebell.text.lark import Lark
from divebell.text.tools import WrittenCall, tools_of

MARKS = frozenset(mark for dialect in DIALECTS.values() for mark in dialect.marks)
ONCE = [WrittenCall("get_weather", '{"city": "Paris <b>\\"x\\"</b>", "days": 2}')]
TWICE = [*ONCE, WrittenCall("search", '{"query": "a\\nb", "options": {"deep": [1, null]}}')]


@pytest.fixture(scope="module")
def library():
    return byte_level_library(special=("</s>", *sorted(MARKS)))


@pytest.fixture(scope="module")
def judge(library):
    added = library.get_added_tokens_decoder()

    def token_bytes(id: int) -> bytes:
        return added[id].content.encode() if id in added else byte_level_bytes(library.id_to_token(id))

    return Judge(library, MARKS, token_bytes)


def grammar(dialect: Dialect, library, tools=TOOLS, parallel=True) -> str:
    return dialect.grammar(tools_of(tools), parallel, Lark(library.token_to_id, dialect.marks))


def written(dialect: Dialect, calls: list[WrittenCall]) -> str:
    """As the model is to write it: in DSML the calls stand in paragraphs of their own."""
    return ("\n\n" if "｜DSML｜" in dialect.marks else "") + dialect.written(calls)


dialects = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)


@dialects
def test_calls_follow_it(dialect, library, judge):
    one = grammar(dialect, library, parallel=False)
    assert judge.accepts(one, written(dialect, ONCE))
    assert not judge.accepts(one, written(dialect, TWICE))
    assert judge.accepts(grammar(dialect, library), written(dialect, TWICE)) != dialect.bare  # Llama's calls are single
    assert judge.accepts(grammar(dialect, library), written(dialect, ONCE))


def test_a_line_end_after_a_call_need_not_begin_another(library, judge):
    """Qwen2.5-Coder-1.5B ends its line, and has ended; bound to go on, it made the same call again without end."""
    held = grammar(DIALECTS["hermes"], library)
    assert judge.accepts(held, written(DIALECTS["hermes"], TWICE) + "\n")
    assert not judge.accepts(held, written(DIALECTS["hermes"], ONCE) + "\n\n")


@dialects
@pytest.mark.parametrize(
    "wrong",
    [
        WrittenCall("get_weather", '{"city": "Paris", "days": "two"}'),
        WrittenCall("get_weather", '{"city": "Paris", "days": 2.5}'),
        WrittenCall("get_weather", '{"city": "Paris"}'),
        WrittenCall("get_weather", '{"city": "Paris", "days": 2, "hours": 3}'),
        WrittenCall("get_whether", '{"city": "Paris", "days": 2}'),
        WrittenCall("search", '{"city": "Paris", "days": 2}'),
    ],
    ids=lambda call: f"{call.name}{call.arguments}",
)
def test_what_breaks_the_schema_does_not(dialect, library, judge, wrong):
    closed = [
        {**tool, "function": {**tool["function"], "parameters": {**schema, "additionalProperties": False}}}
        for tool in TOOLS
        for schema in [tool["function"]["parameters"]]
    ]
    assert judge.accepts(grammar(dialect, library, closed), written(dialect, ONCE))
    assert not judge.accepts(grammar(dialect, library, closed), written(dialect, [wrong]))


@dialects
def test_text_does_not(dialect, library, judge):
    for text in ("", "Hello", '{"name": "get_weather"}', written(dialect, ONCE)[:-1]):
        assert not judge.accepts(grammar(dialect, library), text)


@dialects
def test_marks_without_tokens_are_text(dialect, library, judge):
    """A vocabulary without the dialect's tokens, as when an odd template teaches the dialect in words."""
    spelled = dialect.grammar(tools_of(TOOLS), True, Lark(lambda token: None, dialect.marks))
    assert "<[" not in spelled
    plain = byte_level_library(special=("</s>",))
    added = plain.get_added_tokens_decoder()
    judge = Judge(plain, frozenset(), lambda id: b"" if id in added else byte_level_bytes(plain.id_to_token(id)))
    assert judge.accepts(spelled, written(dialect, ONCE))
    assert not judge.accepts(spelled, written(dialect, ONCE)[:-1])


@dialects
def test_it_is_read_as_the_call_that_it_is(dialect):
    found = joined(events(parser(dialect), [written(dialect, TWICE)]))
    arguments = [json.loads(arguments) for _, arguments, _ in found]
    assert [name for name, _, _ in found] == ["get_weather", "search"]
    assert arguments == [json.loads(written.arguments) for written in TWICE]


def test_the_choice(library):
    chat = ChatFormat({"default": "<tool_call>"}, {}, library.token_to_id)
    any_tool, named = chat.call_grammar(TOOLS), chat.call_grammar(TOOLS, {"type": "function", "name": "search"})
    assert chat.call_grammar(TOOLS, "required") == any_tool
    assert ("get_weather" in any_tool, "get_weather" in named, "search" in named) == (True, False, True)
    assert chat.call_grammar(TOOLS, {"type": "function", "function": {"name": "search"}}) == named
    assert f"<[{library.token_to_id('<tool_call>')}]>" in named


@dialects
def test_calls_begin_as_their_dialect_says(dialect):
    text = written(dialect, ONCE)
    assert text.startswith(dialect.opening)
    assert bool(dialect.opening) != dialect.bare


@pytest.mark.parametrize(
    ("template", "tokens", "opening"),
    [
        ("<tool_call>", (), "<tool_call>"),
        ("<｜tool▁sep｜>", ("<｜tool▁call▁begin｜>",), "<｜tool▁calls▁begin｜>"),
        ("<｜tool▁sep｜>", (), None),
        ("<|python_tag|>", ("<|python_tag|>",), None),
    ],
)
def test_calls_can_be_strict_where_a_mark_tells_that_they_come(template, tokens, opening):
    chat = ChatFormat({"default": template}, {}, lambda token: 7 if token in tokens else None)
    if opening:
        assert chat.strict_calls(TOOLS) == {"grammar": chat.call_grammar(TOOLS), "governed_from": opening}
        return
    with pytest.raises(BadInput, match="'strict' can't be enforced with tool_choice 'auto'"):
        chat.strict_calls(TOOLS)


@pytest.mark.parametrize(
    ("tools", "choice", "problem"),
    [
        ([], "required", "tool_choice is 'required', but there are no tools"),
        (TOOLS, "auto", "tool_choice is 'auto'; allowed: 'required', or the name of one of the tools: 'get_weather', "),
        (TOOLS, {"function": {"name": "find"}}, "'find'.*; allowed: 'required', or the name"),
        (TOOLS, None, "tool_choice is None"),
        ([{"function": {}}], "required", r"tools\[0\]\.function\.name is missing"),
        ([{"name": "f", "parameters": []}, {"name": "g", "parameters": 3}], "required", r"tools\[1\]\.function\.param"),
        (
            [{"name": "f", "parameters": {"type": "array"}}],
            "required",
            r"parameters\.type is 'array'; allowed: 'object'",
        ),
        ([{"name": "f", "parameters": {"properties": []}}], "required", r"parameters\.properties is \[\]"),
    ],
)
def test_choices_and_tools_that_are_none(tools, choice, problem):
    with pytest.raises(BadInput, match=problem):
        ChatFormat({}, {}).call_grammar(tools, choice)


KINDS = described(
    "f",
    plain={"type": "string"},
    unit={"enum": ["°C", "°F"]},
    code={"type": "string", "pattern": "^[A-Z]{3}$"},
    either={"type": ["integer", "null"]},
    point={"$ref": "#/$defs/point"},
    anything=True,
)
KINDS["function"]["parameters"]["$defs"] = {"point": {"type": "array", "items": {"type": "number"}, "maxItems": 2}}
KINDS["function"]["parameters"]["required"] = ["plain", "point"]


@pytest.mark.parametrize(
    ("arguments", "valid"),
    [
        ({"plain": "x", "unit": "°C", "code": "ABC", "either": None, "point": [1, 2.5], "anything": {"a": 1}}, True),
        ({"plain": "", "point": []}, True),
        ({"plain": "x", "unit": "K", "point": []}, False),
        ({"plain": "x", "code": "ABCD", "point": []}, False),
        ({"plain": "x", "point": [1, 2, 3]}, False),
        ({"plain": 3, "point": []}, False),
        ({"point": []}, False),
    ],
)
def test_kinds_of_parameters_in_dsml(library, judge, arguments, valid):
    dialect = DIALECTS["v4"]
    text = written(dialect, [WrittenCall("f", json.dumps(arguments, ensure_ascii=False))])
    if "code" in arguments:  # what a string must look like can be said of its JSON alone
        text = text.replace(
            '"code" string="true">' + arguments["code"], '"code" string="false">"' + arguments["code"] + '"'
        )
    assert judge.accepts(grammar(dialect, library, [KINDS]), text) == valid
    if valid:
        assert joined(events(parser(dialect), [text])) == [call("f", **arguments)]


@pytest.mark.parametrize("key", ["anyOf", "$ref", "allOf", "const"])
def test_what_dsml_cannot_be_held_to_is_refused(library, key):
    tool = described("f")
    tool["function"]["parameters"][key] = []
    with pytest.raises(BadInput, match=f"tools: the parameters of 'f' have '{re.escape(key)}' at the top"):
        grammar(DIALECTS["v4"], library, [WEATHER, tool, SEARCH])


def test_a_schema_that_cannot_be_enforced_is_named():
    tool = described("f", a={"type": "string", "pattern": "("})
    with pytest.raises(BadInput, match="tools: the parameters of 'f': this schema can't be enforced: "):
        ChatFormat({}, {}).call_grammar([WEATHER, tool])

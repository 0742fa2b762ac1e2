import itertools
import json
import random

import pytest
from answers import DIALECTS, THINK, TOOLS, call, described, events, joined, parsed, parser
from hypothesis import given, settings
from hypothesis import strategies as st

from divebell.text.dialects.dialect import LONGEST_NAME
from divebell.text.events import CallArguments, CallEnd, CallStart, Content, Reasoning
from divebell.text.parser import Parser
from divebell.text.tools import WrittenCall, tools_of

MARKS = sorted({mark for dialect in DIALECTS.values() for mark in (*dialect.opens, *dialect.marks)} | {*THINK})
CALL = WrittenCall("get_weather", '{"city": "Paris </b> \\"{[", "days": 2}')
OTHER = WrittenCall("search", '{"query": "a\\nb", "options": {"deep": [1, {"x": null}]}}')
dialects = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)


def read(written: WrittenCall) -> tuple:
    return written.name, written.arguments, None


@dialects
def test_calls_at_every_split(dialect):
    assert parsed(dialect.written([CALL]), dialect) == [read(CALL)]
    assert parsed(dialect.written([CALL, OTHER]) + "\n", dialect) == [read(CALL), read(OTHER)]


@dialects
def test_text_around_calls(dialect):
    text = "" if dialect.bare else "Let me look.\n\n"
    found = parsed(f"{text}{dialect.written([CALL])}\n\nDone. ", dialect)
    assert found[-2:] == [read(CALL), ("content", "\n\nDone. " if text else "Done. ")]
    assert found[:-2] == [("content", "Let me look.")][: bool(text)]


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        ("text before * and after", ["text before", " and after"]),
        ("text before *and after", ["text before", " and after"]),
        ("before\n*\n*\n\nafter * ", ["before", "\n\nafter"]),
        ("before * <tool_call> after", ["before", " <tool_call> after"]),
        ("before*after", ["before", "after"]),
        (" * after", ["after"]),
    ],
)
def test_content_on_both_sides_of_calls_keeps_the_space_between(text, contents):
    dialect = DIALECTS["hermes"]
    found = parsed(text.replace("*", '<tool_call>{"name": "f"}</tool_call>'), dialect)
    assert [item[1] for item in found if item[0] == "content"] == contents


def test_content_within_a_call_comes_after_it():
    text = '<｜DSML｜invoke name="f">x <｜DSML｜parameter name="b" string="true">q</｜DSML｜invoke>'
    *_, end, content = events(parser(DIALECTS["v4"]), text)
    assert (end, content) == (CallEnd(0), Content("x"))


@dialects
def test_calls_after_reasoning(dialect):
    assert parsed(f"hm\n</think>\n\n{dialect.written([CALL])}", dialect, opened=True) == [
        ("reasoning", "hm"),
        read(CALL),
    ]
    assert parsed(f"<think>\nhm</think>{dialect.written([CALL])}", dialect, opened=False)[0] == ("reasoning", "hm")


@dialects
def test_calls_within_reasoning(dialect):
    """Control tokens end it, for a forgotten mark would lose the call; what may be a quotation does not."""
    found = parsed(f"I need {dialect.written([CALL])}", dialect, opened=True)
    if dialect.ends_reasoning:
        assert found == [("reasoning", "I need"), read(CALL)]
    else:
        assert found == [("reasoning", f"I need {dialect.written([CALL])}")]


@dialects
def test_no_tools_no_calls(dialect):
    text = f"See: {dialect.written([CALL])}"
    assert joined(events(Parser(None), [text])) == [("content", text)]


@dialects
def test_a_name_that_no_tool_has(dialect):
    """A call for the client to refuse; but without a mark it is some JSON."""
    text = dialect.written([WrittenCall("get_whether", '{"city": "x"}')])
    assert parsed(text, dialect) == ([("content", text)] if dialect.bare else [call("get_whether", city="x")])


@dialects
def test_the_longest_name(dialect):
    name = "n" * LONGEST_NAME
    text = dialect.written([WrittenCall(name, "{}")])
    tools = tools_of([described(name)])
    for pieces in ([text], text):
        assert joined(events(Parser(dialect, tools=tools), pieces)) == [call(name)]


@dialects
def test_a_call_that_breaks_off_keeps_what_there_was(dialect):
    text = dialect.written([CALL])
    for end in range(len(text)):
        found = joined(events(parser(dialect), text[:end]))
        if found and len(found[-1]) == 3:
            name, arguments, _ = found[-1]
            assert name == "get_weather"
            if dialect.marks != ("｜DSML｜",):  # whose arguments are made into JSON, closed where the text ends
                assert CALL.arguments.startswith(arguments)
        else:
            assert found == ([("content", text[:end])] if end else [])


@dialects
def test_arguments_come_while_they_are_written(dialect):
    text = dialect.written([WrittenCall("search", json.dumps({"query": "x" * 500}))])
    reading, shown, started = parser(dialect), "", False
    for end, letter in enumerate(text, 1):
        for event in reading.push(letter):
            started |= isinstance(event, CallStart)
            shown += event.text if isinstance(event, CallArguments) else ""
        assert shown.count("x") + len("</｜DSML｜parameter>") > text[:end].count("x")
    assert started


@dialects
def test_content_comes_as_soon_as_it_is_certain(dialect):
    reading, text = parser(dialect), "ab <c [d] e"
    shown = "".join(event.text for letter in text for event in reading.push(letter))
    assert shown == text


def test_line_breaks_in_strings_become_escapes():
    text = '<tool_call>{"name": "search", "arguments": {"query": "a\n\tb\\\n"}}</tool_call>'
    [(_, arguments, _)] = parsed(text, DIALECTS["hermes"])
    assert arguments == '{"query": "a\\n\\tb\\\n"}'  # what a backslash stands before stays


@pytest.mark.parametrize(
    ("dialect", "text", "expected"),
    [
        # Hermes: any order, lists, arguments within a string, JSON that is none, marks that are missing or too many
        ("hermes", '<tool_call>{"arguments": {"a": 1}, "name": "f"}</tool_call>', [call("f", a=1)]),
        ("hermes", '<tool_call>\n[{"name": "f"},{"name": "g", "arguments": null}]</tool_call>', [call("f"), call("g")]),
        ("hermes", '<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>', [call("f", a=1)]),
        ("hermes", '<tool_call>{"name": "f", "arguments": {"a": tru}}</tool_call>', [("f", '{"a": tru}', None)]),
        ("hermes", '<tool_call>{"name": "f", "arguments": {"a": 1}}', [call("f", a=1)]),
        ("hermes", '<tool_call>{"name": "f", "arguments": {"a": 1}</tool_call>', [call("f", a=1)]),
        ("hermes", '<tool_call>{"name": "f", "arguments": {}}}</tool_call> a', [call("f"), ("content", "} a")]),
        ("hermes", '<tool_call>{"name": "f", "id": "7", "arguments": {}}</tool_call>', [call("f", id="7")]),
        ("hermes", '<tool_call>{"name": "f", "arguments": {"s": "</tool_call>"}}</tool_call>',
         [call("f", s="</tool_call>")]),
        ("hermes", "<tool_call> is how", [("content", "<tool_call> is how")]),
        ("hermes", '<tool_call>{"name": "f g"}', [("content", '<tool_call>{"name": "f g"}')]),
        ("hermes", '<tool_call>{"name": "f", "args": {}}', [("content", '<tool_call>{"name": "f", "args": {}}')]),
        ("hermes", '<tool_call>{"nam": "f"}</tool_call>', [("content", '<tool_call>{"nam": "f"}</tool_call>')]),
        ("hermes", '\n<tool_call> <tool_call>{"name": "f"}</tool_call>', [("content", "\n<tool_call>"), call("f")]),
        # Llama 3: by its shape alone, so only at the beginning, of a known tool and with parameters
        ("llama3", ' {"name": "search", "parameters": {"query": "x"}}', [call("search", query="x")]),
        ("llama3", '{"type": "function", "name": "search", "parameters": {}}; {"name": "search", "parameters": {}}',
         [call("search"), call("search")]),
        ("llama3", '<|python_tag|>{"name": "f", "parameters": {}}', [call("f")]),
        ("llama3", 'See <|python_tag|>{"name": "f"}', [("content", "See"), call("f")]),
        ("llama3", '<|python_tag|>print(1)', [("content", "<|python_tag|>print(1)")]),
        ("llama3", '{"name": "search"}', [("content", '{"name": "search"}')]),
        ("llama3", '{"name": "search", "age": 3}', [("content", '{"name": "search", "age": 3}')]),
        ("llama3", '{"city": "Paris"}', [("content", '{"city": "Paris"}')]),
        ("llama3", 'So {"name": "search", "parameters": {}}', [("content", 'So {"name": "search", "parameters": {}}')]),
        # Mistral: both forms, with ids
        ("mistral listed", '[TOOL_CALLS] [{"name": "f", "id": "12345678x","arguments": {}}]', [call("f", "12345678x")]),
        ("mistral named", "[TOOL_CALLS]f[CALL_ID]123456789[ARGS]{}", [call("f", id="123456789")]),
        ("mistral named", '[TOOL_CALLS]f{"a": 1}[TOOL_CALLS]g[ARGS]{}', [call("f", a=1), call("g")]),
        ("mistral named", '[TOOL_CALLS][{"name": "f", "arguments": {"a": 1}}]', [call("f", a=1)]),
        ("mistral listed", "[TOOL_CALLS] are [TOOL_CALLS]", [("content", "[TOOL_CALLS] are [TOOL_CALLS]")]),
        ("mistral listed", "[TOOL_CALLS] [1]", [("content", "[TOOL_CALLS] [1]")]),
        # DeepSeek V3: with and without the outer marks and the fence
        ("r1", "<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n{}<｜tool▁call▁end｜>", [call("f")]),
        ("r1", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜>", [call("f")]),
        ("r1", "<｜tool▁calls▁begin｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{}\n``` "
               "<｜tool▁call▁end｜>\n<｜tool▁calls▁end｜>\n", [call("f")]),
        ("r1", "<｜tool▁calls▁begin｜>" * 2, [("content", "<｜tool▁calls▁begin｜>" * 2)]),
        ("v31", "<｜tool▁call▁begin｜>f<｜tool▁sep｜>no", [("content", "<｜tool▁call▁begin｜>f<｜tool▁sep｜>no")]),
        # DSML: attributes left out, elements left open, values that are no JSON, text in between
        ("v4", '<｜DSML｜invoke name="f">', [("f", "{}", None)]),
        ("v4", '<｜DSML｜tool_calls><｜DSML｜invoke name="search"><｜DSML｜parameter name="query">3</｜DSML｜parameter>'
               '<｜DSML｜parameter name="options">{"a": 1}</｜DSML｜parameter></｜DSML｜tool_calls>',
         [("search", '{"query": "3", "options": {"a": 1}}', None)]),
        ("v4", '<｜DSML｜invoke name="f"><｜DSML｜parameter name="a" string="false">no</｜DSML｜parameter>'
               '<｜DSML｜parameter name="b" string="false">NaN</｜DSML｜invoke><｜DSML｜invoke name="g">',
         [("f", '{"a": "no", "b": "NaN"}', None), ("g", "{}", None)]),
        ("v4", '<｜DSML｜invoke name="f">x <｜DSML｜parameter b',
         [("f", "{}", None), ("content", "x<｜DSML｜parameter b")]),
        ("v4", '<｜DSML｜invoke name="f">x <｜DSML｜parameter name="b', [("f", "{}", None), ("content", "x")]),
        ("v4", "<｜DSML｜tool_calls> are", [("content", "<｜DSML｜tool_calls> are")]),
        ("v4", "<｜DSML｜function_calls>", [("content", "<｜DSML｜function_calls>")]),
        ("v4", '<｜DSML｜tool_calls><｜DSML｜invoke name="a b">',
         [("content", '<｜DSML｜tool_calls><｜DSML｜invoke name="a b">')]),
    ],
)  # fmt: skip
def test_variants(dialect, text, expected):
    assert parsed(text, DIALECTS[dialect]) == expected


@pytest.mark.parametrize(
    ("opened", "text", "expected"),
    [
        (True, "hm\nhm</think>\n\nyes", [("reasoning", "hm\nhm"), ("content", "yes")]),
        (False, "<think>\nhm\n</think>\n\nyes\n", [("reasoning", "hm"), ("content", "yes\n")]),
        (False, "\n <think>hm</think>yes", [("reasoning", "hm"), ("content", "yes")]),
        (False, "<think>\n\n</think>\n\nyes", [("reasoning", ""), ("content", "yes")]),
        (False, "  just yes", [("content", "  just yes")]),
        (False, "a < b and </think>", [("content", "a < b and </think>")]),
        (False, "<thin", [("content", "<thin")]),
        (False, "", []),
        (True, "never done </th", [("reasoning", "never done </th")]),
        (True, "a </think> b </think> c", [("reasoning", "a"), ("content", "b </think> c")]),
        (True, "", [("reasoning", "")]),
        (None, "<think>hm</think>", [("content", "<think>hm</think>")]),
    ],
)
def test_reasoning(opened, text, expected):
    assert parsed(text, None, opened) == expected


@settings(max_examples=200, deadline=None)
@given(text=st.lists(st.sampled_from(["</think>", "<", "/", "think>", " ", "\n", "x", "</", "</thi"])).map("".join))
def test_reasoning_is_shown_as_soon_as_it_is_certain(text):
    reading, shown = parser(None, opened=True), ""
    for end in range(1, len(text) + 1):
        for event in reading.push(text[end - 1]):
            if isinstance(event, Content):
                return
            shown += event.text
        if "</think>" in text[:end]:
            return
        waiting = text[:end].lstrip()[len(shown) :].lstrip()
        assert waiting == "" or "</think>".startswith(waiting)


BITS = [
    *MARKS,
    '{"name": "',
    "get_weather",
    '"',
    '", "arguments": {',
    '", "parameters": {',
    "}",
    "}}",
    "[",
    "]",
    ",",
    ":",
    ";",
]
BITS += [
    ' name="',
    '">',
    ' string="true">',
    ' string="false">',
    "</",
    "function",
    "\n",
    " ",
    "```json",
    "```",
    "\\",
    "x",
    "é",
]
BITS += [
    "<｜DSML｜",
    "｜DSML｜parameter>",
    "</｜DSML｜tool_calls>",
    "</｜DSML｜invoke>",
    '<｜DSML｜parameter name="a"',
    "</tool_call",
]


def near_call(draw: random.Random, dialect) -> str:
    """A call of the dialect with parts cut out, doubled, moved or put in, or a mixture of parts alone."""
    if draw.random() < 0.25:
        return "".join(draw.choices(BITS, k=draw.randint(1, 25)))
    text = draw.choice(["", "Well. ", "hm</think>"]) + dialect.written(draw.choice([[CALL], [OTHER], [CALL, OTHER]]))
    for _ in range(draw.randint(1, 4)):
        a, b = sorted(draw.choices(range(len(text) + 1), k=2))
        b = min(b, a + draw.choice([1, 3, 12]))
        inserted = draw.choice(["", "é", draw.choice(BITS), text[a:b] * 2])
        text = text[:a] + inserted + text[b:]
    return text


def check_near_call(draw: random.Random, dialect) -> None:
    text, opened = near_call(draw, dialect), draw.choice([None, True, False])
    whole = joined(events(parser(dialect, opened), [text]))
    cuts = sorted(draw.choices(range(len(text) + 1), k=draw.randint(1, 8)))
    pieces = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
    assert joined(events(parser(dialect, opened), pieces)) == whole, text
    assert joined(events(parser(dialect, opened), text)) == whole, text
    calls = [item for item in whole if len(item) == 3]
    if not calls and opened is None:
        assert whole == [("content", text)]
    check_nothing_is_lost(text + '">.', dialect, opened)  # which ends a tag that the text breaks off


def check_nothing_is_lost(text: str, dialect, opened: bool | None) -> None:
    """No part of a format has an é, so every one comes out once, wherever it is taken to belong."""
    found = joined(events(parser(dialect, opened), [text]))
    out = "".join(part or "" for item in found for part in (item if len(item) == 3 else item[1:]))
    assert out.count("é") == text.count("é"), text


@dialects
def test_near_calls(dialect):
    draw = random.Random(1)
    for _ in range(150):
        check_near_call(draw, dialect)


@pytest.mark.slow
@dialects
def test_five_thousand_near_calls(dialect):
    draw = random.Random(2)
    for _ in range(5000):
        check_near_call(draw, dialect)


@settings(max_examples=300, deadline=None)
@given(
    text=st.lists(st.sampled_from(BITS) | st.text(max_size=3)).map("".join),
    cuts=st.lists(st.integers(0, 200)),
    dialect=st.sampled_from(list(DIALECTS.values())),
    opened=st.sampled_from([None, True, False]),
)
def test_any_text_is_equal_at_any_split(text, cuts, dialect, opened):
    pieces = [text[a:b] for a, b in itertools.pairwise([0, *sorted(cuts), len(text)])]
    assert joined(events(parser(dialect, opened), pieces)) == joined(events(parser(dialect, opened), [text]))


def test_the_marks_that_must_be_text():
    assert Parser(None, THINK).marks == {*THINK}
    assert Parser(DIALECTS["v4"], THINK, tools=tools_of(TOOLS)).marks == {*THINK, "｜DSML｜"}
    assert not Parser().marks


def test_a_long_answer_takes_its_time():
    """As many steps as letters: nothing is looked at again and again."""
    text = json.dumps({"query": "word " * 40_000})
    reading = parser(DIALECTS["hermes"])
    found = joined(
        events(reading, [f'<tool_call>{{"name": "search", "arguments": {text}}}</tool_call>', *"abc " * 10_000])
    )
    assert found == [("search", text, None), ("content", ("abc " * 10_000))]


def test_reasoning_that_is_empty_is_told():
    assert parser(None, opened=True).push("") == [Reasoning("")]

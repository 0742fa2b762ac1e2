import dataclasses
from enum import StrEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divebell.errors import BadInput
from divebell.text.messages import checked_messages, checked_tools, for_template, plainer

USER = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        (None, "messages is None: give a list"),
        ("Hi", "messages is of type str"),
        (USER, "messages is of type dict"),
        (3, "messages is of type int"),
        ([], "messages is empty"),
        (["Hi"], r"messages\[0\] is of type str: give a mapping"),
        ([USER, {"content": "x"}], r"messages\[1\]\.role is None; allowed: system, "),
        ([{"role": "robot", "content": "x"}], r"messages\[0\]\.role is 'robot'"),
        ([{"role": ["user"], "content": "x"}], r"messages\[0\]\.role is \['user'\]"),
        ([USER, {"role": "user"}], r"messages\[1\]\.content is missing: give the user's text"),
        ([{"role": "assistant", "content": None}], r"messages\[0\]\.content is missing"),
        ([{"role": "user", "content": 3}], r"messages\[0\]\.content is of type int"),
        ([{"role": "user", "content": ["x"]}], r"messages\[0\]\.content\[0\] is 'x'"),
        (
            [{"role": "user", "content": [{"type": "image_url"}]}],
            r"messages\[0\]\.content\[0\]\.type is 'image_url'; .*'text'",
        ),
        ([{"role": "user", "content": b"x"}], r"messages\[0\] holds of type bytes"),
        ([{"role": "assistant", "content": "", "tool_calls": {}}], r"messages\[0\]\.tool_calls is of type dict"),
        ([{"role": "assistant", "tool_calls": [{}]}], r"messages\[0\]\.tool_calls\[0\]\.function\.name is missing"),
        ([{"role": "assistant", "tool_calls": [3]}], r"messages\[0\]\.tool_calls\[0\]\.function\.name is missing"),
        (
            [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": 3}}]}],
            r"messages\[0\]\.tool_calls\[0\]\.function\.arguments is of type int: give JSON text",
        ),
        (
            [USER, {"role": "tool", "content": "x"}],
            r"messages\[1\]\.role is 'tool', but the assistant's message before it",
        ),
        (
            [
                {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f"}}]},
                {"role": "tool", "tool_call_id": "a", "content": "x"},
                {"role": "tool", "tool_call_id": "b", "content": "x"},
            ],
            r"messages\[2\]\.tool_call_id is 'b'; no call before it has this id",
        ),
    ],
)
def test_what_is_wrong_is_named(messages, problem):
    with pytest.raises(BadInput, match=problem):
        checked_messages(messages)


@pytest.mark.parametrize(
    ("tools", "problem"),
    [("f", "tools is of type str"), ([3], r"tools\[0\] is of type int"), ([{}, len], r"tools\[1\] is of type builtin")],
)
def test_bad_tools_are_named(tools, problem):
    with pytest.raises(BadInput, match=problem):
        checked_tools(tools)


def test_nesting_has_an_end():
    deep = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(BadInput, match=r"messages\[0\] is nested deeper than 64"):
        checked_messages([USER | {"extra": deep}])


def test_rich_values_become_plain():
    class Role(StrEnum):
        USER = "user"

    @dataclasses.dataclass
    class Message:
        role: str
        content: str

    made = checked_messages([{"role": Role.USER, "content": "a"}, Message("user", "b")])
    assert made == [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    assert type(made[0]["role"]) is str


def test_messages_are_copied():
    given_ = [{"role": "user", "content": "a", "list": [1]}]
    made = checked_messages(given_)
    made[0]["list"].append(2)
    assert given_[0]["list"] == [1]


def test_reasoning_has_every_name():
    assert for_template({"role": "assistant", "content": "c", "reasoning": "r", "x": None}) == {
        "role": "assistant",
        "content": "c",
        "reasoning": "r",
        "thinking": "r",
        "reasoning_content": "r",
    }


def test_plainer_spellings():
    assert plainer([USER]) == []
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]}
    assert [spelling[0]["content"] for spelling in plainer([call])] == [None, ""]
    parts = {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    assert [spelling[0]["content"] for spelling in plainer([parts])] == ["a\nb", "a\nb"]


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["role", "content"]), inner),
)


@settings(max_examples=50, deadline=None)
@given(messages=json_like)
def test_junk_is_refused_or_taken(messages):
    try:
        made = checked_messages(messages)
    except BadInput:
        return
    assert made == messages
    plainer(made)

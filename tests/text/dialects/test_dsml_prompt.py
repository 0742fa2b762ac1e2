import json
from pathlib import Path

import pytest

from divebell.errors import BadInput
from divebell.text.chat import ChatFormat
from divebell.text.dialects import v4, v32

DATA = Path(__file__).parents[1] / "data"
V32, V4 = ChatFormat({}, {}, code=v32), ChatFormat({}, {}, code=v4)
both = pytest.mark.parametrize("chat", [V32, V4], ids=["v32", "v4"])
USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def call(id: str, arguments: str) -> dict:
    return {"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}}


def result(id: str, content: str) -> dict:
    return {"role": "tool", "tool_call_id": id, "content": content}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_v4_to_the_letter(number):
    given = json.loads((DATA / f"encoding_dsv4/input_{number}.json").read_text())
    messages, tools = (given["messages"], given["tools"]) if isinstance(given, dict) else (given, None)
    assert V4.render(messages, tools) == (DATA / f"encoding_dsv4/output_{number}.txt").read_text()


@pytest.mark.parametrize("mode", ["thinking", "chat"])
def test_v32_to_the_letter(mode):
    given = json.loads((DATA / "encoding_dsv32/input.json").read_text())
    prompt = V32.render(given["messages"], given["tools"], thinking=mode == "thinking")
    assert prompt == (DATA / f"encoding_dsv32/{mode}.txt").read_text()


@both
def test_ways_to_think(chat):
    def end(**options) -> str:
        return chat.render([USER], **options).rpartition("<｜Assistant｜>")[2]

    assert end() == end(thinking=True) == end(enable_thinking=True) == end(reasoning_effort="low") == "<think>"
    assert end(thinking=False) == end(enable_thinking=False) == end(reasoning_effort="none") == "</think>"
    assert chat.governed_after(chat.render([USER])) == "</think>"
    assert chat.governed_after(chat.render([USER], thinking=False)) is None
    assert chat.render([USER], add_generation_prompt=False).endswith("<｜User｜>Hi")
    with pytest.raises(BadInput, match="reasoning_effort is 'lots'; allowed: none, minimal, low"):
        chat.render([USER], reasoning_effort="lots")
    with pytest.raises(BadInput, match="template variable 'date' means nothing to this model; known: enable_thinking"):
        chat.render([USER], date="today")


def test_the_utmost_effort_is_asked_for_at_the_very_beginning():
    usual, utmost = V4.render([USER]), V4.render([USER], reasoning_effort="max")
    assert utmost.startswith("<｜begin▁of▁sentence｜>Reasoning Effort: Absolute maximum")
    assert utmost.endswith(usual.removeprefix("<｜begin▁of▁sentence｜>"))
    assert V4.render([USER], reasoning_effort="max", thinking=False) == V4.render([USER], thinking=False)


@both
def test_tools_without_a_system_message(chat):
    assert chat.render([USER], [TOOL]).startswith("<｜begin▁of▁sentence｜>\n\n## Tools\n")
    assert chat.render([USER], []) == chat.render([USER])


@both
def test_results_stand_in_the_order_of_the_calls(chat):
    talk = [USER, {"role": "assistant", "tool_calls": [call("a", "{}"), call("b", '{"x": "1", "y": 1}')]}]
    prompt = chat.render([*talk, result("b", "second"), result("a", "first")], [TOOL])
    assert prompt == chat.render([*talk, result("a", "first"), result("b", "second")], [TOOL])
    assert prompt.index("first") < prompt.index("second")
    assert 'name="x" string="true">1<' in prompt
    assert 'name="y" string="false">1<' in prompt


@both
def test_messages_of_other_kinds(chat):
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert chat.render([{"role": "user", "content": parts}]) == chat.render([{"role": "user", "content": "a\nb"}])
    opening = [{"role": "developer", "content": "Be kind."}, USER]
    assert chat.render(opening) == chat.render([opening[0] | {"role": "system"}, USER])
    image = [parts[0], {"type": "image_url", "image_url": {"url": "x"}}]
    with pytest.raises(
        BadInput, match=r"messages\[0\]\.content\[1\]\.type is 'image_url'; this model reads 'text' alone"
    ):
        chat.render([{"role": "user", "content": image}])
    with pytest.raises(BadInput, match=r"messages\[1\]\.role is 'function'; this model knows: system, developer, user"):
        chat.render([USER, {"role": "function", "content": "x"}])


@both
def test_arguments_that_a_model_broke_off_are_kept(chat):
    talk = [USER, {"role": "assistant", "tool_calls": [call("a", '{"x": "1')]}, result("a", "?")]
    assert 'name="arguments" string="true">{"x": "1<' in chat.render(talk, [TOOL])


def test_the_shape_of_the_answer():
    talk = [{"role": "system", "content": "S", "response_format": {"type": "object"}}, USER]
    shape = "S\n\n## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n"
    shape += '{"type": "object"}<｜User｜>'
    assert shape in V4.render(talk)
    assert shape in V32.render(talk)


@pytest.mark.parametrize(
    ("task", "end"),
    [("title", "Hi<｜title｜>"), ("action", "Hi<｜Assistant｜><think><｜action｜>")],
    ids=["title", "action"],
)
def test_tasks_of_v4(task, end):
    assert V4.render([USER | {"task": task}]).endswith(end)
    with pytest.raises(BadInput, match="task is 'x'; allowed: action, query"):
        V4.render([USER | {"task": "x"}])


def test_users_and_tools_share_a_turn_in_v4():
    talk = [USER, {"role": "assistant", "tool_calls": [call("a", "{}")]}, result("a", "r"), USER, USER]
    assert "<｜User｜><tool_result>r</tool_result>\n\nHi\n\nHi<｜Assistant｜>" in V4.render(talk, [TOOL])

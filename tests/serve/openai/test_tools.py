import json

import openai
import pytest
from tools import OPENAI, ROME, call, check, saying

from divebell.errors import BadInput

ASK = {"model": "small", "messages": [{"role": "user", "content": "Weather?"}], "tools": OPENAI, "max_tokens": 300}
TWO = "Let me see." + call("weather", ROME) + "\n" + call("clock", {})


def calls_of(chunks):
    """(id, name, arguments) of each call of a stream."""
    found = {}
    for chunk in chunks:
        for one in chunk.choices[0].delta.tool_calls or ():
            id, name, arguments = found.get(one.index, (None, None, ""))
            found[one.index] = (one.id or id, one.function.name or name, arguments + (one.function.arguments or ""))
    return [found[index] for index in sorted(found)]


def told(client, text, **more):
    """The answer when the model says `text`."""
    return client.chat.completions.create(**ASK | more, extra_body={"grammar": saying(text)})


def test_calls_are_told_from_text(client):
    choice = told(client, TWO).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me see."
    assert [(c.function.name, json.loads(c.function.arguments)) for c in choice.message.tool_calls] == [
        ("weather", ROME),
        ("clock", {}),
    ]
    assert len({c.id for c in choice.message.tool_calls}) == 2


def test_they_stream_as_they_come(client):
    chunks = list(told(client, TWO, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Let me see."
    calls = calls_of(chunks)
    assert [(name, json.loads(arguments)) for _, name, arguments in calls] == [("weather", ROME), ("clock", {})]
    assert all(id for id, _, _ in calls)
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_arguments_come_in_pieces(client):
    long = {"zone": "Europe/Rome " * 8}
    chunks = list(told(client, call("clock", long), stream=True))
    pieces = [one.function.arguments for c in chunks for one in c.choices[0].delta.tool_calls or ()]
    assert json.loads("".join(pieces)) == long
    # How many: a reader that is slower than the model gets several tokens at once.
    assert sum(map(bool, pieces)) > 1


def test_without_parallel_calls_there_is_one(client):
    assert len(told(client, TWO, parallel_tool_calls=False).choices[0].message.tool_calls) == 1
    assert len(calls_of(told(client, TWO, parallel_tool_calls=False, stream=True))) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_a_stop_string_breaks_off_is_not_to_be_made(client, stream):
    answer = told(client, TWO, stop=["days"], stream=stream)
    reason = [*answer][-1].choices[0].finish_reason if stream else answer.choices[0].finish_reason
    assert reason == "stop"


def test_what_only_looks_like_a_call_stays_text(client):
    for text in ("<tool_call> is a mark", "<tool_call>{}</tool_call>", "<tool_"):
        choice = told(client, text).choices[0]
        assert (choice.message.content, choice.message.tool_calls) == (text, None)


def test_no_call_without_tools_or_when_none_is_wanted(client):
    for more in ({"tool_choice": "none"}, {"tools": []}):
        choice = told(client, call("clock", {}), **more).choices[0]
        assert choice.message.tool_calls is None
        assert choice.message.content == call("clock", {})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_required_call_follows_its_schema(client, seed, stream):
    named = {"type": "function", "function": {"name": "weather"}}
    options = {"seed": seed, "tool_choice": named, "stream": stream}
    answer = client.chat.completions.create(**ASK, **options)
    if stream:
        [(_, name, arguments)] = calls_of(answer)
    else:
        assert answer.choices[0].finish_reason == "tool_calls"
        [one] = answer.choices[0].message.tool_calls
        name, arguments = one.function.name, one.function.arguments
    assert name == "weather"
    check(json.loads(arguments))


def test_any_required_call_is_one_of_the_tools(client):
    answer = client.chat.completions.create(**ASK, tool_choice="required", parallel_tool_calls=False)
    assert answer.choices[0].message.tool_calls[0].function.name in ("weather", "clock")


def test_a_conversation_goes_on_with_what_came_of_a_call(client, server):
    message = told(client, TWO).choices[0].message
    results = [{"role": "tool", "tool_call_id": c.id, "content": "Sunny."} for c in message.tool_calls]
    more = [*ASK["messages"], message, *results]
    answer = client.chat.completions.create(**ASK | {"messages": more, "max_tokens": 3})
    assert answer.usage.prompt_tokens_details.cached_tokens > 0


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"tools": [], "tool_choice": "required"}, "tool_choice", "there are no tools to choose from"),
        ({"tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice", "'weather', 'clock'"),
        ({"tool_choice": "any"}, "tool_choice", "'auto', 'none' or 'required'"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "'function'"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name", "at least 1"),
        (
            {"tools": [{"type": "function", "function": {"name": "my tool"}}]},
            "tools[0].function.name",
            "without spaces",
        ),
        ({"tools": [{"type": "function", "function": {"name": "f", "x": 1}}]}, "tools[0].function.x", "not known"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]},
            "tools[0].function.parameters.type",
            "allowed: 'object'",
        ),
    ],
)
def test_what_can_t_be_honoured_is_refused_by_name(client, fields, param, says):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{**ASK, "extra_body": fields})
    assert says in caught.value.body["message"]
    assert caught.value.param == param


NAMED = {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize("choice", ["required", NAMED])
def test_python_has_the_same_choice(server, choice):
    llm = server.service.models["small"].llm
    answer = llm.chat(ASK["messages"], OPENAI[:1], tool_choice=choice, max_tokens=300, seed=1)
    assert (answer.text, answer.tool_calls[0].name) == ("", "weather")
    check(json.loads(answer.tool_calls[0].arguments))
    for length in range(1, 12):
        cut = llm.chat(ASK["messages"], OPENAI, tool_choice=choice, max_tokens=length, seed=1)
        assert (cut.text, cut.finish_reason) == ("", "length")
    assert llm.chat(ASK["messages"], OPENAI, tool_choice="none", max_tokens=5).tool_calls == ()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tool_choice": "required"}, "there are no tools"),
        ({"tools": OPENAI, "tool_choice": "any"}, "tool_choice is 'any'; allowed: 'required'"),
        ({"tools": OPENAI, "tool_choice": "required", "grammar": saying("x")}, "leave one out"),
        ({"tools": OPENAI, "tool_choice": "required", "regex": "x"}, "regex and grammar are both given"),
    ],
)
def test_and_is_told_what_can_t_be(server, options, says):
    with pytest.raises(BadInput, match=says):
        server.service.models["small"].llm.chat(ASK["messages"], **options)

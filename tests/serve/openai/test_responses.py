import json

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel
from servers import silent, together
from tools import PARAMETERS, ROME, call, check, saying

ASK = {"model": "small", "input": "Hello there", "max_output_tokens": 12, "temperature": 0}
TOOLS = [
    {"type": "function", "name": "weather", "description": "Forecast.", "parameters": PARAMETERS, "strict": True},
    {"type": "function", "name": "clock", "parameters": {"type": "object", "properties": {}}, "strict": False},
]
ASKED = {"role": "user", "content": "And?"}
UNENFORCEABLE = {"type": "json_schema", "name": "n", "schema": {"not": {}}}
CALLED = {"type": "function_call", "call_id": "c", "name": "clock", "arguments": "{}"}


@pytest.fixture(scope="module")
def direct(server):
    """What the engine itself answers."""
    return server.service.models["small"].llm.chat([{"role": "user", "content": "Hello there"}], max_tokens=12)


@pytest.fixture
def says(server, monkeypatch):
    """says(text): every answer is that text."""
    llm = server.service.models["small"].llm
    answer = llm.answer

    def say(text):
        monkeypatch.setattr(
            llm, "answer", lambda *a, **more: answer(*a, **more | {"grammar": saying(text), "governed_from": None})
        )

    return say


def test_an_answer_is_the_engine_s(client, direct):
    answer = client.responses.create(**ASK)
    assert answer.output_text == direct.text
    assert answer.status == "incomplete"
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.store is False
    assert answer.usage.input_tokens == direct.usage.prompt_tokens
    assert (answer.usage.output_tokens, answer.usage.output_tokens_details.reasoning_tokens) == (12, 0)


def test_a_stream_joins_to_the_same(client, direct):
    with client.responses.stream(**ASK) as stream:
        events = list(stream)
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == direct.text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [e.type for e in events][:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert [e.type for e in events][-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    assert events[-1].response.output_text == direct.text


def test_who_waits_for_a_long_prompt_gets_events(client, server, direct, monkeypatch):
    """Codex counts no comments: 300 s without an event, and it asks again."""
    silent(monkeypatch, server.service.models["small"].llm)
    with client.responses.stream(**ASK) as stream:
        events = list(stream)
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == direct.text
    signs = [event for event in events if event.type == "response.in_progress"]
    assert len(signs) > 1
    assert {sign.response.status for sign in signs} == {"in_progress"}
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_answers_come_async(server, direct):
    async def whole():
        async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            return (await client.responses.create(**ASK)).output_text

    async def streamed():
        async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            stream = await client.responses.create(**ASK, stream=True)
            return "".join([e.delta async for e in stream if e.type == "response.output_text.delta"])

    assert together(whole(), streamed()) == [direct.text] * 2


def test_calls_are_items(client, says):
    says("Let me see." + call("weather", ROME) + "\n" + call("clock", {}))
    ask = ASK | {"tools": TOOLS, "max_output_tokens": 300}
    message, weather, clock = client.responses.create(**ask).output
    assert message.content[0].text == "Let me see."
    assert [(c.name, json.loads(c.arguments)) for c in (weather, clock)] == [("weather", ROME), ("clock", {})]
    with client.responses.stream(**ask) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [item.type for item in final.output] == ["message", "function_call", "function_call"]
    done = [e for e in events if e.type == "response.function_call_arguments.done"]
    assert [json.loads(e.arguments) for e in done] == [ROME, {}]
    assert len(client.responses.create(**ask, parallel_tool_calls=False).output) == 2


def test_a_call_that_is_cut_off_is_incomplete(client, says):
    says(call("weather", ROME))
    ask = ASK | {"tools": TOOLS, "max_output_tokens": 300}
    needed = client.responses.create(**ask).usage.output_tokens
    with client.responses.stream(**ask | {"max_output_tokens": needed - 18}) as stream:
        events = list(stream)
    [item] = events[-1].response.output
    assert (events[-1].type, item.type, item.status) == ("response.incomplete", "function_call", "incomplete")
    assert [event.item.status for event in events if event.type == "response.output_item.done"] == ["incomplete"]


def test_a_refusal_can_be_sent_back(client, server):
    said = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    answer = client.responses.create(**ASK | {"input": [{"role": "user", "content": "Hi"}, said, ASKED]})
    text = "[user]Hi[assistant]No.[user]And?[assistant]"
    tokenizer = server.service.models["small"].llm.tokenizer
    assert answer.usage.input_tokens == len(tokenizer.encode(text, add_special_tokens=False))


def test_what_is_not_supported_may_be_null(client):
    nothing = dict.fromkeys(("moderation", "prompt_cache_options", "prompt_cache_retention", "conversation"))
    assert client.responses.create(**ASK, extra_body=nothing).output_text


def test_a_required_call_follows_its_schema(client):
    choice = {"type": "function", "name": "weather"}
    options = {"tools": TOOLS, "tool_choice": choice, "max_output_tokens": 300, "parallel_tool_calls": False}
    [one] = client.responses.create(**ASK | options).output
    check(json.loads(one.arguments))


def test_a_conversation_goes_on_with_its_items(client, says):
    says("Let me see." + call("weather", ROME))
    first = client.responses.create(**ASK | {"tools": TOOLS, "max_output_tokens": 300})
    result = {"type": "function_call_output", "call_id": first.output[1].call_id, "output": "Sunny."}
    items = [{"role": "user", "content": "Weather?"}, *first.output, result]
    says("It is sunny.")
    second = client.responses.create(**ASK | {"tools": TOOLS, "input": items, "instructions": "Be brief."})
    assert second.output_text == "It is sunny."
    assert second.status == "completed"


def test_what_codex_sends_is_taken(client, says, server, monkeypatch):
    """Tools of one source under its name, which the model knows by one name and the client by two."""
    source = {"type": "namespace", "name": "maps", "description": "Maps.", "tools": [TOOLS[0] | {"strict": False}]}
    ask = ASK | {"tools": [source, TOOLS[1]], "max_output_tokens": 300, "store": False, "tool_choice": "auto"}
    ask |= {"include": ["reasoning.encrypted_content"], "reasoning": {"summary": "auto"}, "prompt_cache_key": "k"}
    ask |= {"extra_body": {"client_metadata": {"session": "1"}}, "parallel_tool_calls": True}
    says(call("maps__weather", ROME))
    [called] = client.responses.create(**ask).output
    assert (called.namespace, called.name, json.loads(called.arguments)) == ("maps", "weather", ROME)
    with client.responses.stream(**ask) as stream:
        assert [item.namespace for item in stream.get_final_response().output] == ["maps"]
    prompts, llm = [], server.service.models["small"].llm
    prompt = llm.chat_prompt
    monkeypatch.setattr(llm, "chat_prompt", lambda *a: prompts.append(a) or prompt(*a))
    says("Sunny.")
    items = ["Weather?", called, {"type": "function_call_output", "call_id": called.call_id, "output": "Sun."}]
    items[0] = {"role": "user", "content": items[0]}
    assert client.responses.create(**ask | {"input": items}).output_text == "Sunny."
    [(messages, tools, *_)] = prompts
    assert [tool["function"]["name"] for tool in tools] == ["maps__weather", "clock"]
    assert messages[1]["tool_calls"][0]["function"]["name"] == "maps__weather"


@pytest.mark.parametrize(
    ("names", "says"),
    [(("clock", "clock"), "two are called 'clock'"), (("a" * 128,), "has more than 128 characters")],
)
def test_names_that_can_t_be_told_apart_are_refused(client, names, says):
    spaced = {"type": "namespace", "name": "maps", "tools": [TOOLS[1] | {"name": "a" * 128}]}
    tools = [TOOLS[1] | {"name": name} for name in names] if len(names) > 1 else [spaced]
    with pytest.raises(openai.BadRequestError, match=says):
        client.responses.create(**ASK | {"tools": tools})


def test_an_answer_follows_its_schema(client):
    class Flag(BaseModel):
        raised: bool

    answer = client.responses.parse(**ASK | {"max_output_tokens": 200}, text_format=Flag)
    assert answer.output_parsed.raised in (True, False)


def test_an_error_after_the_beginning_is_an_event(server):
    llm = server.service.models["small"].llm
    model = llm.engine._core.model
    model.step, forward = lambda *_: 1 / 0, model.step
    try:
        answer = httpx.post(f"{server.url}/v1/responses", json=ASK | {"stream": True, "input": "Something new"})
    finally:
        model.step = forward
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert [event["type"] for event in events][-2:] == ["error", "response.failed"]
    assert "an error of ours" in events[-2]["message"]
    response = events[-1]["response"]
    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
    assert response["error"]["message"] == events[-2]["message"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "not supported"),
        ({"conversation": "c"}, "conversation", "not supported"),
        ({"background": True}, "background", "False"),
        ({"store": True}, "store", "False"),
        ({"truncation": "auto"}, "truncation", "'disabled'"),
        ({"reasoning": {"effort": "low"}}, "reasoning.effort", "this model does not reason"),
        ({"reasoning": {"summary": "detailed"}}, "reasoning.summary", "'auto'"),
        ({"include": ["file_search_call.results"]}, "include[0]", "reasoning.encrypted_content"),
        ({"mood": 1}, "mood", "not known"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]", "'function', 'namespace'"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]", "'message', 'function_call'"),
        ({"input": [CALLED | {"arguments": {"a": 1}}]}, "input[0].arguments", "a valid string"),
        ({"input": [{"type": "reasoning", "summary": [{}]}]}, "input[0].summary", "at most 0 items"),
        ({"input": [{"role": "user", "content": 7}]}, "input[0].content", ""),
        ({"input": [7]}, "input[0]", "object"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0]", "input_text"),
        ({"input": []}, "input", "at least 1"),
        ({"text": {"format": UNENFORCEABLE}}, "text.format.schema", "not in # can't be enforced"),
        ({"max_output_tokens": 0}, "max_output_tokens", "greater than or equal to 1"),
    ],
)
def test_what_can_t_be_honoured_is_refused_by_name(client, fields, param, says):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(**{**ASK, "extra_body": fields})
    assert says in caught.value.body["message"]
    assert caught.value.param == param

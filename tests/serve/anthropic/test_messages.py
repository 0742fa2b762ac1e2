import itertools
import json

import anthropic
import httpx
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import ThreadUnsupportedRequestError
from servers import silent, together
from tools import ANTHROPIC, ROME, call, check

from divebell.serve.anthropic import messages

ASK = {"model": "small", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 12}
GREEDY = {"extra_body": {"temperature": 0}}


@pytest.fixture(scope="module")
def direct(server):
    """What the engine itself answers."""
    return server.service.models["small"].llm.chat(ASK["messages"], max_tokens=12)


def saying(monkeypatch, server, text):
    """Makes every answer begin with `text`, and end there."""
    from tools import saying

    llm, answer = server.service.models["small"].llm, type(server.service.models["small"].llm).answer
    monkeypatch.setattr(llm, "answer", lambda *a, **options: answer(llm, *a, **options | {"grammar": saying(text)}))


def test_an_answer_is_the_engine_s(client, direct):
    answer = client.messages.create(**ASK, **GREEDY)
    assert [(block.type, block.text) for block in answer.content] == [("text", direct.text)]
    assert (answer.stop_reason, answer.stop_sequence, answer.role, answer.type) == (
        "max_tokens",
        None,
        "assistant",
        "message",
    )
    usage = answer.usage
    assert usage.input_tokens + usage.cache_read_input_tokens == direct.usage.prompt_tokens
    assert usage.output_tokens == 12
    assert answer.id.startswith("msg_")


def test_a_stream_joins_to_the_same(client, direct):
    with client.messages.stream(**ASK, **GREEDY) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert final.content[0].text == direct.text
    assert final.stop_reason == "max_tokens"
    assert final.usage.output_tokens == 12
    assert (kinds[0], kinds[1], kinds[-1]) == ("message_start", "content_block_start", "message_stop")


def test_events_come_in_order(server):
    answer = httpx.post(f"{server.url}/v1/messages", json=ASK | {"stream": True})
    names = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    middle = names[2:-3]
    assert names[:2] == ["message_start", "content_block_start"]
    assert set(middle) == {"content_block_delta"}
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_who_waits_for_a_long_prompt_gets_events(client, server, direct, monkeypatch):
    """Claude Code counts no pings: 300 s without another event, and it asks again."""
    silent(monkeypatch, server.service.models["small"].llm)
    with client.messages.stream(**ASK, **GREEDY) as stream:
        assert stream.get_final_text() == direct.text
    monkeypatch.setattr(messages, "PATIENCE", 1)
    with client.messages.stream(**ASK, **GREEDY) as stream:
        kinds = [(event.type, getattr(event, "text", None)) for event in stream]
        assert [block.text for block in stream.get_final_message().content] == [direct.text]
    assert kinds[0] == ("message_start", None)
    assert ("text", "") in kinds
    saying(monkeypatch, server, call("clock", {}))
    with client.messages.stream(**ASK | {"max_tokens": 300}, tools=ANTHROPIC) as stream:
        waited, called = stream.get_final_message().content
    assert (waited.text, called.name, called.input) == ("", "clock", {})


def test_answers_come_async(server, direct):
    async def whole():
        async with AsyncAnthropic(base_url=server.url, api_key="none") as client:
            return (await client.messages.create(**ASK, **GREEDY)).content[0].text

    async def streamed():
        async with (
            AsyncAnthropic(base_url=server.url, api_key="none") as client,
            client.messages.stream(**ASK, **GREEDY) as stream,
        ):
            return "".join([text async for text in stream.text_stream])

    assert together(whole(), streamed()) == [direct.text] * 2


def test_a_stop_sequence_is_named(client, direct):
    stop = direct.text[4:6]
    answer = client.messages.create(**ASK, **GREEDY, stop_sequences=["never there", stop])
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", stop)
    assert "".join(block.text for block in answer.content) == direct.text[: direct.text.index(stop)]


def test_tokens_are_counted(client, server):
    counted = client.messages.count_tokens(model="small", messages=ASK["messages"], system="Be brief.")
    text = "[system]Be brief.[user]Hello[assistant]"
    tokenizer = server.service.models["small"].llm.tokenizer
    assert counted.input_tokens == len(tokenizer.encode(text, add_special_tokens=False))


def test_calls_are_blocks(client, server, monkeypatch):
    saying(monkeypatch, server, "Let me see." + call("weather", ROME) + "\n" + call("clock", {}))
    ask = ASK | {"tools": ANTHROPIC, "max_tokens": 300}
    answer = client.messages.create(**ask)
    assert answer.stop_reason == "tool_use"
    assert [block.type for block in answer.content] == ["text", "tool_use", "tool_use"]
    assert [(block.name, block.input) for block in answer.content[1:]] == [("weather", ROME), ("clock", {})]
    with client.messages.stream(**ask) as stream:
        final = stream.get_final_message()
    assert [(block.name, block.input) for block in final.content[1:]] == [("weather", ROME), ("clock", {})]
    one = client.messages.create(**ask, tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert [block.type for block in one.content] == ["text", "tool_use"]
    broken = client.messages.create(**ask, stop_sequences=["days"])
    assert (broken.stop_reason, broken.stop_sequence) == ("stop_sequence", "days")


def test_blocks_come_in_the_order_of_the_stream(client, server, monkeypatch):
    saying(monkeypatch, server, f"Look: {call('clock', {})} Then more.")
    ask = ASK | {"tools": ANTHROPIC, "max_tokens": 300}
    with client.messages.stream(**ask) as stream:
        streamed = stream.get_final_message().content
    for content in (client.messages.create(**ask).content, streamed):
        assert [getattr(block, "text", block.type) for block in content] == ["Look:", "tool_use", " Then more."]


@pytest.mark.parametrize(
    "choice", [{"type": "tool", "name": "weather"}, {"type": "any", "disable_parallel_tool_use": True}]
)
def test_a_required_call_follows_its_schema(client, choice):
    answer = client.messages.create(**ASK | {"max_tokens": 300}, tools=ANTHROPIC[:1], tool_choice=choice)
    [block] = answer.content
    check(block.input)


@anthropic.beta_tool
def weather(city: str, days: int) -> str:
    """Forecast."""
    return f"Sunny in {city} for {days} days."


@pytest.mark.parametrize("stream", [False, True])
def test_the_sdk_s_runner_calls_tools_without_a_thread(client, server, monkeypatch, stream):
    from tools import saying

    texts, prompts, llm = iter([call("weather", ROME), "It is sunny."]), [], server.service.models["small"].llm
    answer = llm.answer

    def one_after_another(prompt, *arguments, **options):
        prompts.append(prompt.text)
        return answer(prompt, *arguments, **options | {"grammar": saying(next(texts))})

    monkeypatch.setattr(llm, "answer", one_after_another)
    runner = client.beta.messages.tool_runner(**ASK | {"max_tokens": 300}, tools=[weather], stream=stream)
    called, said = [turn.get_final_message() if stream else turn for turn in runner]
    assert [(block.name, block.input) for block in called.content] == [("weather", ROME)]
    assert [block.text for block in said.content] == ["It is sunny."]
    assert "[user]Hello[assistant]" in prompts[1]
    assert "Sunny in Rome for 3 days." in prompts[1]


def test_a_thread_is_refused_in_the_sdk_s_own_words(client):
    with pytest.raises(ThreadUnsupportedRequestError, match="thread: this field is not supported") as caught:
        client.messages.create(**ASK, extra_body={"thread": {"type": "create"}})
    assert caught.value.details.unsupported == ["thread"]


def test_what_is_not_supported_may_be_null(client):
    nothing = dict.fromkeys(("thread", "compaction", "fallbacks", "billing_policy", "fallback_credit_token"))
    assert client.messages.create(**ASK, extra_body=nothing).content


def test_a_conversation_goes_on_with_what_came_of_a_call(client, server):
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Weather?", "cache_control": {"type": "ephemeral"}}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "A tool.", "signature": ""},
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": ROME},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "Sunny."}]},
                {"type": "text", "text": "And now?"},
            ],
        },
    ]
    seen = []
    llm = server.service.models["small"].llm
    render, llm.chat_format.__class__.render = (
        llm.chat_format.__class__.render,
        lambda self, messages, *a, **o: seen.append(messages) or render(self, messages, *a, **o),
    )
    try:
        client.messages.create(**ASK | {"messages": messages}, tools=ANTHROPIC)
    finally:
        llm.chat_format.__class__.render = render
    _, said, result, asked = seen[0]
    assert said["content"] == "Let me see."
    assert said["reasoning_content"] == "A tool."
    assert said["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Rome", "days": 3}'}
    assert result == {"role": "tool", "tool_call_id": "toolu_1", "content": "Sunny."}
    assert asked == {"role": "user", "content": "And now?"}


def test_what_coding_agents_send_is_taken(server):
    """Claude Code, as its users' reports of refusals have it."""
    kept = {"type": "ephemeral", "ttl": "1h", "scope": "global"}
    body = ASK | {
        "system": [{"type": "text", "text": "You code.", "cache_control": kept}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "List.", "cache_control": kept}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "thinking", "thinking": "So.", "signature": "x", "cache_control": kept},
                    {"type": "tool_use", "id": "t1", "name": "weather", "input": {}, "caller": {"type": "direct"}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a"}]},
            {"role": "system", "content": "Two files are new."},
        ],
        "tools": [ANTHROPIC[0] | {"eager_input_streaming": True, "defer_loading": False, "cache_control": kept}],
        "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "summarized"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "metadata": {"user_id": "u"},
        "stream": True,
    }
    headers = {"anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14", "anthropic-version": "x"}
    answer = httpx.post(f"{server.url}/v1/messages?beta=true", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert "message_stop" in answer.text
    counted = {name: body[name] for name in ("model", "messages", "system", "tools", "thinking", "context_management")}
    assert httpx.post(f"{server.url}/v1/messages/count_tokens?beta=true", json=counted).json()["input_tokens"] > 20


def test_what_an_agent_says_for_billing_is_not_told_to_the_model(client):
    """Claude Code 2.1.197; the end of the version is another one for each conversation."""
    lines = [f"x-anthropic-billing-header: cc_version=2.1.197.{end}; cc_entrypoint=cli;" for end in ("c23", "e12")]
    ask = {"model": "small", "messages": ASK["messages"]}

    def count(*texts):
        system = [{"type": "text", "text": text} for text in texts]
        return client.messages.count_tokens(**ask, system=system).input_tokens

    assert count(lines[0], "You code.") == count(lines[1], "You code.") == count("You code.")
    assert count(lines[0]) == client.messages.count_tokens(**ask).input_tokens
    assert count(f"Never write {lines[0]}") > count("Never write ")


def test_another_conversation_of_an_agent_begins_with_what_is_cached(client, server):
    told = "You work on code, and answer in a few words."

    def first(end, question):
        texts = (f"x-anthropic-billing-header: cc_version=2.1.197.{end}; cc_entrypoint=cli;", told)
        ask = ASK | {"messages": [{"role": "user", "content": question}], "max_tokens": 1}
        return client.messages.create(**ask, system=[{"type": "text", "text": text} for text in texts]).usage

    first("c23", "What is here?")
    common = server.service.models["small"].llm.tokenizer.encode(f"[system]{told}[user]", add_special_tokens=False)
    assert first("e12", "A mean?").cache_read_input_tokens == len(common)


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ("all", ["a", "b", "c"]),
        ({"type": "all"}, ["a", "b", "c"]),
        ({"type": "thinking_turns", "value": 2}, ["b", "c"]),
        (None, ["c"]),
    ],
)
def test_earlier_thinking_is_cleared_as_it_is_asked_for(client, server, keep, left):
    turns = [
        [
            {"role": "user", "content": "?"},
            {
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": thought}, {"type": "text", "text": "!"}],
            },
        ]
        for thought in "abc"
    ]
    messages = [*itertools.chain(*turns), {"role": "user", "content": "?"}]
    edit = {"type": "clear_thinking_20251015"} | ({"keep": keep} if keep else {})
    managed = {"context_management": {"edits": [edit]}}
    count = client.messages.count_tokens(model="small", messages=messages, extra_body=managed)
    text = "".join(f"[user]?[assistant]!{f'({thought})' if thought in left else ''}" for thought in "abc")
    ids = server.service.models["small"].llm.tokenizer.encode(f"{text}[user]?[assistant]", add_special_tokens=False)
    assert count.input_tokens == len(ids)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_goes_on_where_the_assistant_s_last_message_ends(client, server, stream):
    llm = server.service.models["small"].llm
    prompt = llm.tokenizer.encode("[user]Hello[assistant]Once ", add_special_tokens=False)
    expected = llm.generate(prompt, temperature=0, max_tokens=12).text
    ask = ASK | GREEDY | {"messages": [*ASK["messages"], {"role": "assistant", "content": "Once "}]}
    if stream:
        with client.messages.stream(**ask) as events:
            assert events.get_final_text() == expected
    else:
        assert client.messages.create(**ask).content[0].text == expected


def test_an_answer_can_be_sent_back_as_the_sdk_writes_it(client):
    answer = client.messages.create(**ASK, **GREEDY)
    more = [*ASK["messages"], {"role": "assistant", "content": answer.content}, {"role": "user", "content": "And?"}]
    assert client.messages.create(**ASK | {"messages": more}).content


def test_an_answer_follows_a_schema(client):
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    config = {"format": {"type": "json_schema", "schema": schema}}
    text = client.messages.create(**ASK | {"max_tokens": 100}, output_config=config).content[0].text
    assert json.loads(text) in ({"ok": True}, {"ok": False})


def test_models_are_listed_in_its_words(client):
    assert [model.id for model in client.models.list()] == ["small", "base"]
    assert client.models.retrieve("base").display_name == "base"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"container": "x"}, "container: this field is not supported"),
        ({"frequency": 1}, "frequency: this field is not known here"),
        ({"temperature": 1.5}, "temperature: Input should be less than or equal to 1"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "context_management.edits[0].type"),
        ({"messages": [{"role": "judge", "content": "I"}]}, "messages[0]"),
        ({"tools": [{"name": "f", "input_schema": {}, "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0]"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [ANTHROPIC[0], ANTHROPIC[0]]}, "tools: two are called 'weather'"),
        (
            {"tools": ANTHROPIC, "tool_choice": {"type": "tool", "name": "f"}},
            "tool_choice.name is 'f'; it must be the name of one of the tools: 'weather', 'clock'",
        ),
        ({"stop_sequences": [""]}, "stop_sequences has ''"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"not": {}}}}},
            "output_config.format.schema: not in # can't be enforced",
        ),
        ({"tool_choice": {"type": "any"}}, "tool_choice: there are no tools to choose from"),
        ({"system": [{"type": "text"}]}, "system[0].text: this field is needed"),
        ({"model": "large"}, "there is no model 'large'"),
    ],
)
def test_what_can_t_be_honoured_is_refused_by_name(client, fields, says):
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(**ASK | {"extra_body": fields})
    assert caught.value.status_code in (400, 404)
    body = caught.value.body
    assert body["type"] == "error"
    assert body["request_id"]
    assert says in body["error"]["message"]
    assert body["error"]["type"] in ("invalid_request_error", "not_found_error")


def test_max_tokens_is_needed(server):
    answer = httpx.post(f"{server.url}/v1/messages", json={key: ASK[key] for key in ("model", "messages")})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "max_tokens: this field is needed"

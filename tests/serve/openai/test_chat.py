import httpx
import openai
import pytest
from openai import AsyncOpenAI
from servers import together

from divebell import _native

ASK = {"model": "small", "messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 12, "seed": 3}
TOOL = {"type": "function", "function": {"name": "clock"}}


def text_of(chunks, index=0):
    return "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices if c.index == index)


@pytest.fixture(scope="module")
def direct(server):
    """What the engine itself answers."""
    options = {"max_tokens": 12, "temperature": 1.0, "seed": 3, "logprobs": 2}
    return server.service.models["small"].llm.chat(ASK["messages"], **options)


def test_an_answer_is_the_engine_s(client, direct):
    answer = client.chat.completions.create(**ASK)
    assert answer.choices[0].message.content == direct.text
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == direct.finish_reason == "length"
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (direct.usage.prompt_tokens, 12)
    assert usage.total_tokens == usage.prompt_tokens + 12
    assert usage.prompt_tokens_details.cached_tokens >= 0
    assert answer.model == "small"
    assert answer.id.startswith("chatcmpl-")


def test_a_stream_joins_to_the_same(client, direct):
    chunks = list(client.chat.completions.create(**ASK, stream=True))
    assert text_of(chunks) == direct.text
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks][-2:] == [None, "length"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_tells_its_usage_last_if_asked(client):
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(**ASK, **options))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 12
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_it_tells_how_fast_it_was(client):
    """Of one answer; the words are llama.cpp's."""
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    whole, chunks = client.chat.completions.create(**ASK), list(client.chat.completions.create(**ASK, **usage))
    for answer in (whole, chunks[-1]):
        told, usage = answer.timings, answer.usage
        assert told["cache_n"] == usage.prompt_tokens_details.cached_tokens
        assert told["cache_n"] + told["prompt_n"] == usage.prompt_tokens
        assert told["predicted_n"] == usage.completion_tokens
        expected = 1000 * (usage.completion_tokens - 1) / told["predicted_ms"]
        assert told["predicted_per_second"] == pytest.approx(expected, rel=0.01)
    assert not hasattr(client.chat.completions.create(**ASK, n=2), "timings")


def test_answers_come_async(server, direct):
    async def whole():
        async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            return (await client.chat.completions.create(**ASK)).choices[0].message.content

    async def streamed():
        async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            return text_of([chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)])

    assert together(whole(), streamed(), whole()) == [direct.text] * 3


def test_log_probabilities_are_the_engine_s(client, direct):
    answer = client.chat.completions.create(**ASK, logprobs=True, top_logprobs=2)
    content = answer.choices[0].logprobs.content
    near = 2e-3 if _native.isa == "amx" else 1e-5  # the prompt is cut otherwise, as the server has read it before
    assert [one.logprob for one in content] == pytest.approx([one.logprob for one in direct.logprobs], abs=near)
    assert [len(one.top_logprobs) for one in content] == [2] * 12
    assert bytes(byte for one in content for byte in one.bytes).decode(errors="replace") == direct.text
    chunks = list(client.chat.completions.create(**ASK, logprobs=True, stream=True))
    streamed = [one for c in chunks if c.choices[0].logprobs for one in c.choices[0].logprobs.content]
    assert [one.token for one in streamed] == [one.token for one in content]
    assert streamed[0].top_logprobs == []


def test_several_answers_have_seeds_of_their_own(client):
    several = client.chat.completions.create(**ASK, n=3)
    alone = [client.chat.completions.create(**ASK | {"seed": seed}).choices[0].message.content for seed in (3, 4, 5)]
    assert [choice.message.content for choice in several.choices] == alone
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert several.usage.completion_tokens == 36
    chunks = list(client.chat.completions.create(**ASK, n=3, stream=True))
    assert [text_of(chunks, index) for index in range(3)] == alone


def test_stop_strings_end_an_answer(client, direct):
    stop = direct.text[4:6]
    answer = client.chat.completions.create(**ASK, stop=[stop, "never there"])
    assert answer.choices[0].message.content == direct.text[: direct.text.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


def test_a_bias_forces_a_token(client):
    answer = client.chat.completions.create(**ASK, logit_bias={"65": 100}, temperature=0)
    assert answer.choices[0].message.content == "A" * 12 or set(answer.choices[0].message.content) == {"b"}


def test_extensions_are_taken(client):
    extra = {"top_k": 1, "min_p": 0.1, "repetition_penalty": 1.0, "ignore_eos": True}
    greedy = client.chat.completions.create(**ASK | {"temperature": 0}, extra_body={"ignore_eos": True})
    same = client.chat.completions.create(**ASK | {"temperature": 1}, extra_body=extra)
    assert same.choices[0].message.content == greedy.choices[0].message.content


def test_messages_come_in_many_forms(client, server):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]},
        {"role": "assistant", "content": "Hi", "reasoning_content": "A greeting.", "refusal": None, "annotations": []},
        {"role": "user", "content": "How are you?"},
    ]
    answer = client.chat.completions.create(**ASK | {"messages": messages, "max_tokens": 1})
    text = "[system]Be brief.[user]Hello[assistant]Hi(A greeting.)[user]How are you?[assistant]"
    tokenizer = server.service.models["small"].llm.tokenizer
    assert answer.usage.prompt_tokens == len(tokenizer.encode(text, add_special_tokens=False))


@pytest.mark.parametrize(
    "said", [{"content": None, "refusal": "No."}, {"content": [{"type": "refusal", "refusal": "No."}]}]
)
def test_a_refusal_can_be_sent_back(client, server, said):
    messages = [*ASK["messages"], {"role": "assistant", **said}, {"role": "user", "content": "And?"}]
    answer = client.chat.completions.create(**ASK | {"messages": messages, "max_tokens": 1})
    text = "[user]Hello there[assistant]No.[user]And?[assistant]"
    tokenizer = server.service.models["small"].llm.tokenizer
    assert answer.usage.prompt_tokens == len(tokenizer.encode(text, add_special_tokens=False))


def test_an_answer_can_be_sent_back_as_the_sdk_writes_it(client):
    message = client.chat.completions.create(**ASK).choices[0].message
    more = [*ASK["messages"], message, {"role": "user", "content": "And?"}]
    assert client.chat.completions.create(**ASK | {"messages": more}).choices


@pytest.mark.parametrize(
    ("last", "fields"),
    [
        ({"prefix": True}, {}),
        ({}, {"continue_final_message": True}),
        ({}, {"continue_final_message": True, "add_generation_prompt": False}),
    ],
)
def test_an_answer_goes_on_where_the_last_message_ends(client, server, last, fields):
    llm = server.service.models["small"].llm
    prompt = llm.tokenizer.encode("[user]Hello there[assistant]Once ", add_special_tokens=False)
    messages = [*ASK["messages"], {"role": "assistant", "content": "Once "} | last]
    answer = client.chat.completions.create(**ASK | {"messages": messages, "temperature": 0}, extra_body=fields)
    assert answer.choices[0].message.content == llm.generate(prompt, max_tokens=12).text
    assert answer.usage.prompt_tokens == len(prompt)


def test_a_conversation_of_other_clients_is_taken(client, server):
    """Cache marks in parts, and calls with the index that they had in a stream."""
    call = {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "x"},
    ]
    assert client.chat.completions.create(**ASK | {"messages": messages}).choices


def test_participants_are_told_apart(client, server):
    messages = [{"role": "user", "content": text, "name": name} for text, name in (("Hi", "anna"), ("No", "bert"))]
    answer = client.chat.completions.create(**ASK | {"messages": messages, "max_tokens": 1})
    text = "[user]anna: Hi[user]bert: No[assistant]"
    tokenizer = server.service.models["small"].llm.tokenizer
    assert answer.usage.prompt_tokens == len(tokenizer.encode(text, add_special_tokens=False))


def test_harmless_fields_are_taken(client):
    harmless = {
        "user": "anna",
        "metadata": {"run": "7"},
        "store": False,
        "service_tier": "auto",
        "modalities": ["text"],
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "verbosity": "medium",
        **dict.fromkeys(("audio", "moderation", "prompt_cache_options")),
    }
    assert client.chat.completions.create(**ASK, extra_body=harmless).choices


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"frequency": 1}, "frequency", "this field is not known here"),
        ({"audio": {"voice": "a"}}, "audio", "this field is not supported"),
        ({"functions": []}, "functions", "not supported"),
        ({"store": True}, "store", "False"),
        ({"service_tier": "priority"}, "service_tier", "'auto' or 'default'"),
        ({"temperature": -1}, "temperature", "greater than or equal to 0"),
        ({"temperature": "hot"}, "temperature", "it is 'hot'"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"n": 0}, "n", "greater than or equal to 1"),
        ({"n": 129}, "n", "less than or equal to 128"),
        ({"max_tokens": 1.5}, "max_tokens", "integer"),
        (
            {"max_completion_tokens": 7},
            "max_completion_tokens",
            "max_tokens is 12 and max_completion_tokens 7",
        ),
        ({"top_logprobs": 2}, "top_logprobs", "only with logprobs=true"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "less than or equal to 20"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "only with stream=true"),
        ({"stream": True, "stream_options": {"more": 1}}, "stream_options.more", "not known"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "'x' is not a token id"),
        ({"logit_bias": {"99999": 1}}, "logit_bias", "the vocabulary is 0 to 511"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1", "less than or equal to 100"),
        ({"tools": [TOOL, TOOL]}, "tools", "two are called 'clock'"),
        ({"stop_token_ids": [512]}, "stop_token_ids", "stop_token_ids has token 512"),
        ({"stop": [""]}, "stop", "a string of at least one character"),
        ({"stop": ["a"] * 65}, "stop", "64"),
        ({"repetition_penalty": 1e-38}, "repetition_penalty", "0.01"),
        ({"add_generation_prompt": False}, "add_generation_prompt", "the opposite of continue_final_message"),
        ({"continue_final_message": True}, "messages", "so it must be the assistant's"),
        (
            {"messages": [{"role": "assistant", "content": "x", "prefix": True}, *ASK["messages"]]},
            "messages[0].prefix",
            "only the last message",
        ),
        ({"chat_template_kwargs": {"mood": 1}}, "chat_template_kwargs.mood", "no such variable"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages", "no such variable"),
        ({"messages": []}, "messages", "at least 1 item"),
        ({"messages": [{"role": "judge", "content": "x"}]}, "messages[0]", "role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "this field is needed"),
        ({"messages": [{"role": "user", "content": "x", "mood": 1}]}, "messages[0].mood", "not known"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type", "'text'"),
        ({"model": "large"}, "model", "there is no model 'large'; served here: small, base"),
        ({"model": 7}, "model", "string"),
    ],
)
def test_what_can_t_be_honoured_is_refused_by_name(client, fields, param, says):
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**{**ASK, "extra_body": fields})
    assert 400 <= caught.value.status_code < 500
    assert caught.value.param == param
    assert says in caught.value.body["message"]


def test_clients_can_tell_that_a_conversation_is_too_long(client, server):
    for text in ("x " * 5000, "x " * 50_000):
        messages = [{"role": "user", "content": text}]
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="small", messages=messages)
        assert caught.value.code == "context_length_exceeded"
        body = {"model": "small", "messages": messages, "max_tokens": 1}
        answer = httpx.post(f"{server.url}/v1/messages", json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith("prompt is too long: the prompt has ")


def test_a_base_model_has_no_chat(client):
    with pytest.raises(openai.BadRequestError, match="this model has no chat template"):
        client.chat.completions.create(**ASK | {"model": "base"})


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"7", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"model": NaN}', b'{"a":1e999}'),
        b'{"model": "small", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "small", "messages": [{"role": "user", "content": "x"}], "seed": ' + b"9" * 5000 + b"}",
        b'{"model": "small", "messages": ' + b'[{"content":' * 300 + b"1" + b"}]" * 300 + b"}",
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "text/plain", None])
def test_garbage_is_refused(server, body, kind):
    headers = {"content-type": kind} if kind else {}
    answer = httpx.post(f"{server.url}/v1/chat/completions", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert answer.json()["error"]["param"] != "body"

"""Models that reason: told to or not, and what they think kept apart from what they answer, in all protocols."""

import json

import anthropic
import httpx
import openai
import pytest
from servers import TEMPLATE, running, service_of, silent, small_model
from tools import OPENAI, PARAMETERS, check, saying

from divebell.serve.anthropic import messages
from divebell.text.chat import ChatFormat
from divebell.text.dialects import v4, v32

THOUGHT, SAID = "Rome is far.", "Take a train."
TEMPLATES = {
    "choosing": TEMPLATE + "{% if add_generation_prompt %}{{ '<think>' if thinking else '</think>' }}{% endif %}",
    "always": TEMPLATE.replace("m.content", "m.content.split('</think>')[-1]")
    + "{% if add_generation_prompt %}<think>\n{% endif %}",
    "never": TEMPLATE,
}
CODES = {"v32": v32, "v4": v4}
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One model of random weights for each way to reason."""
    folders = {name: small_model(tmp_path_factory.mktemp(name), template=text) for name, text in TEMPLATES.items()}
    coded = dict.fromkeys(CODES, folders["never"])
    service = service_of(folders | coded)
    for name, code in CODES.items():
        service.models[name].llm._voice.chat = ChatFormat({}, {}, code=code)
    with running(service) as one:
        yield one


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as one:
        yield one


@pytest.fixture(scope="module")
def anthropic_client(server):
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as one:
        yield one


@pytest.fixture
def thinks(server, monkeypatch):
    """The model "choosing" thinks THOUGHT, and says SAID."""
    llm, forced = server.service.models["choosing"].llm, saying(f"{THOUGHT}</think>{SAID}")
    answer, more = llm.answer, {"grammar": forced, "governed_after": None}
    monkeypatch.setattr(llm, "answer", lambda *a, **options: answer(*a, **options | more))


@pytest.fixture
def prompts(server, monkeypatch):
    """What each model has been asked, as text."""
    seen = []
    for served in server.service.models.values():
        prompt = served.llm.chat_prompt
        monkeypatch.setattr(served.llm, "chat_prompt", lambda *a, prompt=prompt: seen.append(prompt(*a)) or seen[-1])
    return seen


@pytest.mark.parametrize("stream", [False, True])
def test_chat_completions_keep_them_apart(client, thinks, stream):
    ask = {"model": "choosing", "messages": HELLO, "reasoning_effort": "high", "max_tokens": 100}
    answer = client.chat.completions.create(**ask, stream=stream)
    if not stream:
        message = answer.choices[0].message
        assert (message.reasoning_content, message.content) == (THOUGHT, SAID)
        told = answer.usage.completion_tokens_details.reasoning_tokens
        assert 0 < told < answer.usage.completion_tokens
        return
    deltas = [chunk.choices[0].delta for chunk in answer]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == THOUGHT
    assert "".join(delta.content or "" for delta in deltas) == SAID


def test_responses_have_items_of_reasoning(client, thinks):
    ask = {"model": "choosing", "input": "Hello", "reasoning": {"effort": "medium"}, "max_output_tokens": 100}
    whole = client.responses.create(**ask)
    with client.responses.stream(**ask) as stream:
        events, streamed = list(stream), stream.get_final_response()
    for answer in (whole, streamed):
        reasoning, message = answer.output
        assert (reasoning.type, reasoning.content[0].text) == ("reasoning", THOUGHT)
        assert message.content[0].text == SAID
        assert answer.usage.output_tokens_details.reasoning_tokens > 0
        assert answer.reasoning.effort == "medium"
    assert "".join(e.delta for e in events if e.type == "response.reasoning_text.delta") == THOUGHT


def test_messages_have_blocks_of_thinking(anthropic_client, thinks):
    thinking = {"type": "enabled", "budget_tokens": 1024}
    ask = {"model": "choosing", "messages": HELLO, "max_tokens": 2048, "thinking": thinking}
    whole = anthropic_client.messages.create(**ask)
    with anthropic_client.messages.stream(**ask) as stream:
        streamed = stream.get_final_message()
    for answer in (whole, streamed):
        thought, said = answer.content
        assert (thought.type, thought.thinking, said.text) == ("thinking", THOUGHT, SAID)


def test_who_waits_for_thoughts_has_their_block_before_them(anthropic_client, server, thinks, monkeypatch):
    silent(monkeypatch, server.service.models["choosing"].llm)
    monkeypatch.setattr(messages, "PATIENCE", 0)
    ask = {"model": "choosing", "messages": HELLO, "max_tokens": 100, "thinking": {"type": "adaptive"}}
    with anthropic_client.messages.stream(**ask) as stream:
        thoughts = [event.thinking for event in stream if event.type == "thinking"]
        thought, said = stream.get_final_message().content
    assert thoughts[0] == ""
    assert (thought.thinking, said.text) == (THOUGHT, SAID)


@pytest.mark.parametrize("display", ["summarized", "omitted"])
def test_what_is_streamed_of_a_message_has_the_number_of_its_block(server, thinks, display):
    """Claude Code drops a stream with a piece of no block that was begun, and asks once more."""
    ask = {
        "model": "choosing",
        "messages": HELLO,
        "max_tokens": 100,
        "thinking": {"type": "adaptive", "display": display},
    }
    answer = httpx.post(f"{server.url}/v1/messages", json=ask | {"stream": True})
    told = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]
    running = None
    for event in (event for event in told if "index" in event):
        running = event["index"] if event["type"] == "content_block_start" else running
        assert event["index"] == running
    assert running == 1


@pytest.mark.parametrize("model", ["choosing", "v32", "v4"])
@pytest.mark.parametrize(("effort", "mark"), [("none", "</think>"), ("low", "<think>"), ("max", "<think>")])
def test_a_model_that_has_the_choice_is_told(client, prompts, model, effort, mark):
    client.chat.completions.create(model=model, messages=HELLO, max_tokens=1, extra_body={"reasoning_effort": effort})
    client.responses.create(
        model=model, input="Hello", max_output_tokens=1, extra_body={"reasoning": {"effort": effort}}
    )
    for prompt in prompts:
        assert prompt.text.endswith(mark)
        assert ("Absolute maximum" in prompt.text) == (model == "v4" and effort == "max")


@pytest.mark.parametrize(
    ("fields", "mark"),
    [
        ({"thinking": {"type": "enabled"}}, "<think>"),
        ({"thinking": {"type": "disabled"}, "reasoning_effort": None}, "</think>"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, "</think>"),
        ({"chat_template_kwargs": {"thinking": True}, "reasoning_effort": "high"}, "<think>"),
    ],
)
def test_clients_of_deepseek_and_vllm_tell_it_in_their_own_words(client, prompts, fields, mark):
    for model in ("choosing", "v4"):
        client.chat.completions.create(model=model, messages=HELLO, max_tokens=1, extra_body=fields)
        assert prompts[-1].text.endswith(mark)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"thinking": {"type": "enabled"}, "reasoning_effort": "none"},
            "thinking: says otherwise than",
        ),
        ({"chat_template_kwargs": {"thinking": True}}, "chat_template_kwargs.thinking: this model does not reason"),
        ({"chat_template_kwargs": {"thinking": 1}}, "chat_template_kwargs.thinking: is 1; it must be true or false"),
    ],
)
def test_what_they_contradict_themselves_in_is_refused(client, fields, says):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="never", messages=HELLO, extra_body=fields)
    assert says in caught.value.body["message"]


def test_messages_tell_it_too(anthropic_client, prompts):
    for kind, mark in {"disabled": "</think>", "adaptive": "<think>"}.items():
        anthropic_client.messages.create(model="v4", messages=HELLO, max_tokens=1, thinking={"type": kind})
        assert prompts[-1].text.endswith(mark)


@pytest.mark.parametrize(
    ("model", "effort", "why"),
    [("always", "none", "reasons before every answer"), ("never", "low", "does not reason before it answers")],
)
def test_what_a_model_can_t_do_is_refused_by_name(client, model, effort, why):
    asks = {
        "reasoning_effort": lambda: client.chat.completions.create(
            model=model, messages=HELLO, extra_body={"reasoning_effort": effort}
        ),
        "reasoning.effort": lambda: client.responses.create(
            model=model, input="Hello", extra_body={"reasoning": {"effort": effort}}
        ),
    }
    for field, ask in asks.items():
        with pytest.raises(openai.BadRequestError) as caught:
            ask()
        assert f"{field}: this model {why}" in str(caught.value)


def test_a_budget_of_thinking_need_not_be_used(anthropic_client):
    """Claude Code asks for one without knowing the model; but who wants none is told where there is always some."""
    ask = {"messages": HELLO, "max_tokens": 2}
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer = anthropic_client.messages.create(model="never", **ask, thinking=thinking)
    assert [block.type for block in answer.content] == ["text"]
    with pytest.raises(anthropic.BadRequestError, match="thinking: this model reasons before every answer"):
        anthropic_client.messages.create(model="always", **ask, thinking={"type": "disabled"})


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_thought_can_be_left_out_of_a_message(anthropic_client, thinks, stream):
    thinking = {"type": "adaptive", "display": "omitted"}
    ask = {"model": "choosing", "messages": HELLO, "max_tokens": 100, "thinking": thinking}
    if stream:
        with anthropic_client.messages.stream(**ask) as events:
            answer = events.get_final_message()
    else:
        answer = anthropic_client.messages.create(**ask)
    thought, said = answer.content
    assert (thought.type, thought.thinking, said.text) == ("thinking", "", SAID)


def test_what_goes_without_saying_is_taken(client):
    for model, effort in (("always", "medium"), ("never", "none")):
        client.chat.completions.create(
            model=model, messages=HELLO, max_tokens=1, extra_body={"reasoning_effort": effort}
        )


@pytest.fixture
def first(server, monkeypatch):
    """first(text): the next answer of "choosing" begins with this text, where it is allowed; what follows is drawn."""
    llm = server.service.models["choosing"].llm
    model = llm.engine._core.model
    logits = model.logits

    def begin(text):
        script = llm.tokenizer.encode(text, add_special_tokens=False)

        def scripted(hidden):
            rows = logits(hidden)
            [sequence] = llm.engine._core.scheduler.running
            for row, token in zip(rows, script[len(sequence.ids) - sequence.given :], strict=False):
                row[token] = 100.0
            return rows

        monkeypatch.setattr(model, "logits", scripted)

    return begin


def test_an_answer_follows_its_schema_after_the_reasoning(client, first):
    first(f"{THOUGHT}</think>")
    format = {"type": "json_schema", "json_schema": {"name": "f", "schema": PARAMETERS}}
    ask = {"model": "choosing", "messages": HELLO, "reasoning_effort": "low", "max_tokens": 300, "temperature": 0}
    message = client.chat.completions.create(**ask, response_format=format).choices[0].message
    assert message.reasoning_content == THOUGHT
    check(json.loads(message.content))


@pytest.mark.parametrize("effort", ["none", "low"])
def test_a_strict_call_follows_its_schema_where_none_was_required(client, first, effort):
    thought = f"{THOUGHT}</think>" if effort == "low" else ""
    first(f"{thought}Let me see.<tool_call>")
    strict = [{"type": "function", "function": OPENAI[0]["function"] | {"strict": True}}]
    ask = {"model": "choosing", "messages": HELLO, "reasoning_effort": effort, "max_tokens": 400, "temperature": 0}
    choice = client.chat.completions.create(**ask, tools=strict, parallel_tool_calls=False).choices[0]
    assert choice.message.content == "Let me see."
    [one] = choice.message.tool_calls
    check(json.loads(one.function.arguments))
    assert choice.finish_reason == "tool_calls"


def test_a_strict_tool_need_not_be_called(client, first):
    first("No tool")
    strict = [{"type": "function", "function": OPENAI[0]["function"] | {"strict": True}}]
    ask = {"model": "choosing", "messages": HELLO, "max_tokens": 7, "temperature": 0}
    message = client.chat.completions.create(**ask, tools=strict).choices[0].message
    assert message.content.startswith("No tool")
    assert message.tool_calls is None

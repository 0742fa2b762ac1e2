"""The default model behind the official clients."""

import json

import pytest
from anthropic import Anthropic
from openai import OpenAI
from servers import running
from tools import ANTHROPIC, OPENAI, check

import divebell
from divebell.serve.keys import Keys
from divebell.serve.service import Service

pytestmark = pytest.mark.slow

ASK = [{"role": "user", "content": "What is the capital of France?"}]
KEY = "sk-anna-1234"


@pytest.fixture(scope="module")
def server():
    service = Service(Keys({"anna": KEY}))
    service.add("smollm2-135m", divebell.load("smollm2-135m", weights="f32", context=2048))
    with running(service) as one:
        yield one


@pytest.fixture(scope="module")
def openai(server):
    with OpenAI(base_url=f"{server.url}/v1", api_key=KEY) as client:
        yield client


def test_both_protocols_know_the_capital_of_france(server, openai):
    chat = openai.chat.completions.create(model="smollm2-135m", messages=ASK, temperature=0, max_tokens=20)
    assert chat.choices[0].message.content == "The capital of France is Paris."
    assert chat.choices[0].finish_reason == "stop"
    response = openai.responses.create(model="smollm2-135m", input=ASK, temperature=0)
    assert response.output_text == "The capital of France is Paris."
    with Anthropic(base_url=server.url, api_key=KEY) as client:
        options = {"max_tokens": 20, "extra_body": {"temperature": 0}}
        message = client.messages.create(model="smollm2-135m", messages=ASK, **options)
    assert (message.content[0].text, message.stop_reason) == ("The capital of France is Paris.", "end_turn")


def test_a_conversation_computes_only_what_is_new(openai):
    first = openai.chat.completions.create(model="smollm2-135m", messages=ASK, temperature=0, max_tokens=20)
    more = [*ASK, first.choices[0].message, {"role": "user", "content": "And of Italy?"}]
    second = openai.chat.completions.create(model="smollm2-135m", messages=more, temperature=0, max_tokens=20)
    known = first.usage.prompt_tokens + first.usage.completion_tokens
    assert second.usage.prompt_tokens_details.cached_tokens >= known - 1


def test_a_required_call_follows_its_schema_in_both(server, openai):
    chosen = {"type": "function", "function": {"name": "weather"}}
    options = {"tools": OPENAI, "tool_choice": chosen, "parallel_tool_calls": False, "max_tokens": 200}
    chat = openai.chat.completions.create(model="smollm2-135m", messages=ASK, **options)
    check(json.loads(chat.choices[0].message.tool_calls[0].function.arguments))
    with Anthropic(base_url=server.url, api_key=KEY) as client:
        choice = {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}
        options = {"tools": ANTHROPIC, "tool_choice": choice, "max_tokens": 200}
        message = client.messages.create(model="smollm2-135m", messages=ASK, **options)
    check(message.content[0].input)

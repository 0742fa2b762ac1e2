import json

import openai
import pytest
from pydantic import BaseModel
from tools import OPENAI, PARAMETERS, check

ASK = {"model": "small", "messages": [{"role": "user", "content": "Weather?"}], "max_tokens": 400}
FORMAT = {"type": "json_schema", "json_schema": {"name": "forecast", "schema": PARAMETERS, "strict": True}}


@pytest.mark.parametrize("seed", range(3))
def test_an_answer_follows_its_schema(client, seed):
    answer = client.chat.completions.create(**ASK, seed=seed, response_format=FORMAT)
    check(json.loads(answer.choices[0].message.content))
    assert answer.choices[0].finish_reason == "stop"
    chunks = list(client.chat.completions.create(**ASK, seed=seed, response_format=FORMAT, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == answer.choices[0].message.content


def test_the_sdk_parses_it(client):
    class Flag(BaseModel):
        raised: bool

    answer = client.chat.completions.parse(**ASK, response_format=Flag)
    assert answer.choices[0].message.parsed.raised in (True, False)


def test_any_object_and_plain_text(client):
    text = client.chat.completions.create(**ASK, seed=1, response_format={"type": "json_object"}).choices[0]
    assert text.message.content.lstrip().startswith("{")
    assert client.chat.completions.create(**ASK, response_format={"type": "text"}).choices


def test_with_tools_it_is_a_call_or_it_follows_the_schema(client):
    for seed in range(4):
        options = {"seed": seed, "tools": OPENAI[:1], "parallel_tool_calls": False}
        message = client.chat.completions.create(**ASK, **options, response_format=FORMAT).choices[0].message
        text = message.tool_calls[0].function.arguments if message.tool_calls else message.content
        check(json.loads(text))


def test_extensions_hold_completions_too(client):
    ask = {"model": "base", "prompt": "x", "max_tokens": 100}
    assert client.completions.create(**ask, extra_body={"regex": "(ab){2}c"}).choices[0].text == "ababc"
    assert client.completions.create(**ask, extra_body={"grammar": 'start: "yes"'}).choices[0].text == "yes"
    text = client.completions.create(**ask, extra_body={"json_schema": PARAMETERS}).choices[0].text
    check(json.loads(text))


@pytest.mark.parametrize("given", [{"json": PARAMETERS}, {"json": json.dumps(PARAMETERS)}], ids=["schema", "text"])
def test_schemas_come_as_other_servers_clients_write_them(client, given):
    for fields in ({"structured_outputs": given}, {"response_format": {"type": "json_object", "schema": PARAMETERS}}):
        check(json.loads(client.chat.completions.create(**ASK, extra_body=fields).choices[0].message.content))


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ({"choice": ["yes", 'no "é"']}, {"yes", 'no "é"'}),
        ({"regex": "(ab){2}c"}, {"ababc"}),
        ({"grammar": 'start: "x"'}, {"x"}),
    ],
)
def test_other_forms_too(client, given, allowed):
    ask = {"model": "base", "prompt": "x", "max_tokens": 100}
    assert client.completions.create(**ask, extra_body={"structured_outputs": given}).choices[0].text in allowed


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"response_format": {"type": "xml"}}, "'text', 'json_object', 'json_schema'"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema: this field is needed"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"not": {}}}}},
            "response_format.json_schema.schema: not in # can't be enforced",
        ),
        ({"response_format": {"type": "json_object", "schema": {"not": {}}}}, "response_format.schema: not in #"),
        ({"structured_outputs": {"json": {"not": {}}}}, "structured_outputs.json: not in #"),
        ({"structured_outputs": {"regex": "("}}, "structured_outputs.regex: "),
        ({"json_schema": {"not": {}}}, "json_schema: not in #"),
        ({"structured_outputs": {}}, "has 0 of json, json_object, regex, choice and grammar; give one"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "has 2 of json"),
        ({"structured_outputs": {"json": "{"}}, "structured_outputs.json: is not JSON"),
        ({"structured_outputs": {"json": "7"}}, "must be a schema"),
        (
            {"structured_outputs": {"whitespace_pattern": "x"}},
            "whitespace_pattern: this field is not",
        ),
        ({"structured_outputs": {"regex": "a"}, "regex": "b"}, "structured_outputs: is given beside regex"),
        ({"response_format": FORMAT, "json_schema": {}}, "response_format: is given beside json_schema"),
        ({"regex": "("}, "regex: "),
        ({"grammar": "nonsense"}, "grammar: "),
        ({"regex": "a", "grammar": 'start: "b"'}, "regex and grammar are both given"),
    ],
)
def test_what_can_t_be_enforced_is_refused(client, fields, says):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**ASK, extra_body=fields)
    assert says in caught.value.body["message"]

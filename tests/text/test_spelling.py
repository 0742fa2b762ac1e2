"""Conversations with tools through real chat templates, and what a model would write back through the parser."""

import itertools
import json
from pathlib import Path

import pytest
from answers import TOOLS, events, joined

from divebell.text import builtin
from divebell.text.chat import ChatFormat
from divebell.text.dialects import v4, v32

# In the manner of Llama 3.1's and Mistral's: arguments as a mapping, one call at a time; ids of nine letters.
LLAMA = """{{ bos_token }}{% if tools %}{{ tools | tojson }} as {"name": .., "parameters": ..} <|python_tag|>{% endif %}
{%- for m in messages %}
{{- '<|start_header_id|>' + ('ipython' if m.role == 'tool' else m.role) + '<|end_header_id|>\\n\\n' }}
{%- if m.tool_calls %}{% if m.tool_calls | length > 1 %}{{ raise_exception('one call at a time') }}{% endif %}
{%- set call = m.tool_calls[0].function %}
{{- '{"name": "' + call.name + '", "parameters": ' + call.arguments | tojson + '}' }}
{%- else %}{{ m.content }}{% endif %}{{ '<|eot_id|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""
MISTRAL = """{{ bos_token }}{% for m in messages %}
{%- if m.role == 'user' %}{% if tools %}[AVAILABLE_TOOLS] {{ tools | tojson }}{% endif %}[INST] {{ m.content }}[/INST]
{%- elif m.tool_calls %}[TOOL_CALLS] [{% for call in m.tool_calls %}{% set out = call.function | tojson %}
{%- if call.id | length != 9 %}{{ raise_exception('ids have nine letters') }}{% endif %}
{{- out[:-1] + ', "id": "' + call.id + '"}' + (', ' if not loop.last else ']' + eos_token) }}{% endfor %}
{%- elif m.role == 'tool' %}{% set id = m.tool_call_id %}
{{- '[TOOL_RESULTS] ' }}{{ {'content': m.content, 'call_id': id} | tojson }}[/TOOL_RESULTS]
{%- else %}{{ m.content + eos_token }}{% endif %}{% endfor %}"""
SMOL = "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n'}}{% endfor %}"
SMOL += "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

NAMED = {"bos_token": "<s>", "eos_token": "</s>"}
TEMPLATES = {path.stem: path.read_text() for path in (Path(__file__).parent / "data/templates").glob("*.jinja")}
TEMPLATES |= {"llama": LLAMA, "mistral": MISTRAL, "smollm2": SMOL, "v3 by its tokens": builtin.DEEPSEEK_V3}
CHATS = {name: ChatFormat({"default": source}, NAMED) for name, source in sorted(TEMPLATES.items())}
CHATS |= {"v32": ChatFormat({}, {}, code=v32), "v4": ChatFormat({}, {}, code=v4)}
chats = pytest.mark.parametrize("chat", CHATS.values(), ids=CHATS)
SEVERAL = {name: chat for name, chat in CHATS.items() if name != "llama"}  # its template refuses several calls at once
several = pytest.mark.parametrize("chat", SEVERAL.values(), ids=SEVERAL)

ARGUMENTS = '{"city": "Zürich \\"old\\"", "days": 2}'
CALL = {"id": "call_4f1a", "type": "function", "function": {"name": "get_weather", "arguments": ARGUMENTS}}
OTHER = {"id": "call_77", "type": "function", "function": {"name": "search", "arguments": '{"query": "a\\nb"}'}}
RESULT = {"role": "tool", "tool_call_id": "call_4f1a", "content": "sunny"}
SYSTEM, USER = {"role": "system", "content": "Be kind."}, {"role": "user", "content": "How is it there?"}


def calling(*calls, content=None) -> dict:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def answer(chat: ChatFormat, talk: list[dict], message: dict) -> list:
    """What the parser makes of `message` as the prompt of the next turn shows it."""
    prompt = chat.render(talk, TOOLS)
    whole = chat.render([*talk, message], TOOLS, add_generation_prompt=False)
    assert whole.startswith(prompt)
    written = whole.removeprefix(prompt)
    for end in ("<｜end▁of▁sentence｜>", "<|im_end|>\n", "<|eot_id|>", "</s>"):
        written = written.removesuffix(end)
    return joined(events(chat.parser(prompt, TOOLS), written))


@chats
@pytest.mark.parametrize("content", [None, ""], ids=["no content", "empty content"])
def test_a_call_comes_back_as_it_was(chat, content):
    found = [item for item in answer(chat, [USER], calling(CALL, content=content)) if item[0] != "reasoning"]
    [(name, arguments, _)] = found
    assert (name, json.loads(arguments)) == ("get_weather", json.loads(ARGUMENTS))


@chats
def test_nothing_of_a_conversation_is_lost(chat):
    talk = [
        SYSTEM,
        USER,
        calling(CALL, content="I look."),
        RESULT,
        {"role": "assistant", "content": "It shines."},
        USER,
    ]
    system = [SYSTEM][: chat is not CHATS["mistral"]]
    prompt = chat.render([*system, *talk[1:]], TOOLS)
    parts = ["How is it", "get_weather", "Zürich", "sunny", "It shines.", "How is it"]
    places = list(itertools.accumulate(parts, lambda at, part: prompt.index(part, at) + 1, initial=len(prompt) // 20))
    assert places == sorted(places)
    assert all(part in prompt for part in ("Does search.", "query", *(message["content"] for message in system)))
    assert "I look." in prompt  # in a message of its own where the template leaves it out beside a call


@several
def test_several_calls_at_once(chat):
    prompt = chat.render(
        [USER, calling(CALL, OTHER), RESULT, RESULT | {"tool_call_id": "call_77", "content": "b"}], TOOLS
    )
    assert prompt.rindex("get_weather") < prompt.rindex("search") < prompt.rindex("sunny")
    assert "\\\\nb" not in prompt  # no JSON text within JSON text


def test_text_of_arguments_is_kept_to_the_letter_where_it_can_be():
    odd = CALL | {"function": {"name": "get_weather", "arguments": '{"city":"x" ,"days":2}'}}
    for name in ("qwen3", "deepseek-v3", "smollm2"):
        assert '{"city":"x" ,"days":2}' in CHATS[name].render([USER, calling(odd), RESULT], TOOLS)


def test_arguments_as_a_mapping_are_as_good():
    mapped = CALL | {"function": {"name": "get_weather", "arguments": json.loads(ARGUMENTS)}}
    for chat in CHATS.values():
        assert chat.render([USER, calling(mapped), RESULT], TOOLS) == chat.render([USER, calling(CALL), RESULT], TOOLS)


def test_short_ids_are_the_same_for_call_and_result():
    prompt = CHATS["mistral"].render([USER, calling(CALL), RESULT], TOOLS)
    id = prompt.partition('"id": "')[2][:9]
    assert id.isalnum()
    assert f'"call_id": "{id}"' in prompt
    kept = [calling(CALL | {"id": "abcdefgh1"}), RESULT | {"tool_call_id": "abcdefgh1"}]
    assert CHATS["mistral"].render([USER, *kept], TOOLS).count("abcdefgh1") == 2


def test_a_template_that_knows_no_tools_is_told_in_the_system_message():
    prompt = CHATS["smollm2"].render([SYSTEM, USER], TOOLS)
    assert prompt.startswith("<|im_start|>system\nBe kind.\n\n# Tools\n\n")
    assert "<tool_call>\n" in prompt
    assert CHATS["smollm2"].render([USER], TOOLS).startswith("<|im_start|>system\n# Tools\n\n")
    assert CHATS["smollm2"].render([USER], []) == CHATS["smollm2"].render([USER])
    assert "<tool_response>\nsunny\n</tool_response>" in CHATS["smollm2"].render([USER, calling(CALL), RESULT], TOOLS)


def test_content_beside_a_call_gives_way_where_a_template_takes_neither_form():
    strict = (
        "{% for m in messages %}{% if not loop.first and m.role == messages[loop.index0 - 1].role == 'assistant' %}"
    )
    strict += "{{ raise_exception('alternate') }}{% endif %}"
    strict += "{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    prompt = ChatFormat({"default": strict}, {}).render([USER, calling(CALL, content="I look."), RESULT], TOOLS)
    assert "Zürich" in prompt
    assert "I look." not in prompt

import itertools
import json
from types import SimpleNamespace

import pytest
import transformers
from answers import DIALECTS
from small_tokenizers import byte_level_library, folder, gguf

from divebell.errors import BadFile, BadInput, BadTemplate
from divebell.text.chat import ChatFormat, load_chat
from divebell.text.dialects import v4, v32
from divebell.text.events import CallStart, Content, Reasoning

NAMED = {"bos_token": "<s>", "eos_token": "</s>"}

# What chat templates in the wild use: whitespace control, namespaces, macros, loop variables, filters, json, formats.
FEATURES = """{% set ns = namespace(n=0) %}
{%- macro show(m, tag='x') -%}<{{ tag }}>{{ m.content | trim }}{% if caller is defined %}{{ caller() }}{% endif %}</>
{%- endmacro %}
  {% for m in messages if m.role != 'system' %}
    {% if loop.index0 == 5 %}{% break %}{% elif m.content == 'skip' %}{% continue %}{% endif %}
    {%- set ns.n = ns.n + 1 %}
{{ loop.index }}/{{ loop.length }}{{ ' last' if loop.last }} {{ loop.cycle('a', 'b') }} {{ show(m, tag=m['role']) }}
    {% generation %}{{ m.content ~ 1 ~ none ~ [1, 'é', {'a': 2.5}] }}{% endgeneration %}
  {% endfor %}
{{ tools | tojson(indent=2) if tools else 'no <tools> & "such"' }}{{ {'a': [1, 2, "<é>"]} | tojson }}
{{ messages | map(attribute='role') | join(', ') }}
{{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{{ '%s-%05d' % ('x', 42) }} {{ '{:>8}|{}'.format('ab', 3) }} {{ 'a' * 3 + 'b' }} {{ 2 ** 10 }} {{ 7 // 2 }} {{ 7 % 4 }}
{{ messages[::-1][0].role }} {{ dict(a=1).items() | list }} {{ dict.fromkeys(['a'], 1) }} {{ [1, 2] + [3] }} {{ (1,) }}
{%- for a, b in [(1, 2), (3, 4)] %}{{ a }}{{ b }}{% endfor %}{% call show(messages[0]) %}inner{% endcall %}
{% filter upper %}abc {{ ns.n }}{% endfilter %}{% set x %}block {{ ns.n }}{% endset %}{{ x | indent(4) }}{{ undefined }}
{% for x in [] %}{% else %}none{% endfor %}{% for k in range(3) recursive %}{{ k }}
{%- if k == 1 %}{{ loop([7]) }}{% endif %}{%- endfor %}
{{ "a,b".split(",") | last }} {{ messages | length }} {{ strftime_now('%Y') }} {{ 'a' in ['a', 'b'] }}
{{ true }} {{ none }} {{ "%.2f" | format(3.14159) }} {{ 'Title me' | title | replace('T', '<') | e }} {{ documents }}
{{ [3, 1, 2] | sort | join('-') }} {{ {'b': 1, 'a': 2} | dictsort }} {{ range(4) | batch(2) | list }} {{ bos_token }}
{{ 'x' | center(9) }}|{{ add_generation_prompt }} {{ extra }} {{ eos_token }}
{% if messages | selectattr('no') %}yes{% endif %}
"""

CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# In the manner of DeepSeek-R1's: calls are told by missing content, earlier reasoning is dropped.
R1_LIKE = """{%- set ns = namespace(system='', tool=false) -%}
{%- for m in messages if m['role'] == 'system' %}{% set ns.system = ns.system + m['content'] %}{% endfor -%}
{{ bos_token }}{{ ns.system }}
{%- for m in messages -%}
  {%- if m['role'] == 'user' %}{{ '<｜User｜>' + m['content'] }}{% endif -%}
  {%- if m['role'] == 'assistant' and m['content'] is none -%}
    {%- for call in m['tool_calls'] -%}
      {{ '<｜tool▁call｜>' + call['function']['name'] + '\\n' + call['function']['arguments'] }}
    {%- endfor -%}
  {%- endif -%}
  {%- if m['role'] == 'assistant' and m['content'] is not none -%}
    {%- set content = m['content'].split('</think>')[-1] -%}{{ '<｜Assistant｜>' + content + eos_token }}
  {%- endif -%}
  {%- if m['role'] == 'tool' %}{{ '<｜tool▁output｜>' + m['content'] }}{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif -%}"""


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
TOOLS = [{"type": "function", "function": {"name": "f", "description": "d é <b>", "parameters": {"type": "object"}}}]
TALKS = [
    [user("Hi")],
    [{"role": "system", "content": "S"}, user("Hi")],
    [user("Hi"), assistant("<think>\nhm\n</think>\n\nHello"), user(" more \n")],
    [user("q"), assistant("c", reasoning_content="r"), user("skip"), user("z"), user("z"), user("z")],
    [user("<|im_end|></s> é < & >")],
]


@pytest.fixture(scope="module")
def theirs():
    backend = transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level_library(), **NAMED)
    assert backend.special_tokens_map == NAMED
    return backend


@pytest.mark.parametrize("template", [FEATURES, CHATML, R1_LIKE], ids=["features", "chatml", "r1"])
@pytest.mark.parametrize("tools", [None, [], TOOLS], ids=["", "no tools", "tools"])
def test_equals_transformers(theirs, template, tools):
    ours = ChatFormat({"default": template}, NAMED)
    talks = TALKS if template == FEATURES or not tools else []  # the others have no place for tools
    for talk, prompt, more in itertools.product(talks, [True, False], [{}, {"extra": [1, "E"]}]):
        given = {"tools": tools, "add_generation_prompt": prompt} | more
        expected = theirs.apply_chat_template(talk, chat_template=template, tokenize=False, **given)
        assert ours.render(talk, **given) == expected


def test_calls_without_content_are_rendered_where_transformers_fails(theirs):
    talk = [user("q"), assistant(None, tool_calls=[CALL])]
    with pytest.raises(Exception, match="no attribute 'content'"):
        theirs.apply_chat_template(talk, chat_template=R1_LIKE, tokenize=False)
    rendered = ChatFormat({"default": R1_LIKE}, NAMED).render(talk, add_generation_prompt=False)
    assert rendered == '<s><｜User｜>q<｜tool▁call｜>f\n{"a": 1}'


def test_content_in_parts_is_joined_for_templates_that_want_text():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert ChatFormat({"default": CHATML}, {}).render([user(parts)], add_generation_prompt=False) == (
        "<|im_start|>user\na\nb<|im_end|>\n"
    )


def test_a_stopped_template_is_not_tried_again(monkeypatch):
    from divebell.text import template

    tries = []
    monkeypatch.setattr(template, "Meter", lambda given, Meter=template.Meter: tries.append(given) or Meter(given))
    with pytest.raises(BadTemplate, match="stopped"):
        ChatFormat({"default": "{{ 'a' * 10 ** 10 }}"}, {}).render([user([{"type": "text", "text": "a"}])])
    assert len(tries) == 2  # compiling, rendering


def test_named_templates(theirs):
    templates = {"default": "plain", "tool_use": "tools"}
    ours = ChatFormat(templates, NAMED)
    assert [ours.render([user("x")], tools=tools) for tools in (None, [], TOOLS)] == ["plain", "tools", "tools"]
    with pytest.raises(BadTemplate, match="no chat template is named 'default'; found: rag, tool_use"):
        ChatFormat({"rag": "x", "tool_use": "y"}, {}).render([user("x")])


def test_bad_messages_are_named():
    with pytest.raises(BadInput, match=r"messages\[0\]\.role"):
        ChatFormat({"default": CHATML}, {}).render([{"content": "x"}])


def test_templates_are_compiled_only_when_used():
    broken = ChatFormat({"default": "{% if %}"}, {})
    with pytest.raises(BadTemplate, match="does not parse, line 1"):
        broken.render([user("x")])


def tokens(*known):
    return SimpleNamespace(token_id=lambda token: 1 if token in known else None, named_tokens=NAMED)


def test_gguf_templates():
    fields = {
        "tokenizer.chat_template": "plain",
        "tokenizer.chat_template.tool_use": "tools",
        "tokenizer.ggml.pre": "x",
    }
    chat = load_chat(gguf(fields), tokens())
    assert (chat.render([user("x")]), chat.render([user("x")], tools=TOOLS)) == ("plain", "tools")
    with pytest.raises(BadFile, match=r"tokenizer\.chat_template: expected text, found int"):
        load_chat(gguf({"tokenizer.chat_template": 3}), tokens())


@pytest.mark.parametrize(
    "stated",
    ["plain {{ bos_token }}", [{"name": "default", "template": "plain {{ bos_token }}"}]],
    ids=["one", "named"],
)
def test_folder_templates(tmp_path, stated):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": stated}))
    assert load_chat(folder(tmp_path), tokens()).render([user("x")]) == "plain <s>"
    (tmp_path / "chat_template.jinja").write_text("file")
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text("more")
    chat = load_chat(folder(tmp_path), tokens())
    assert (chat.render([user("x")]), chat.render([user("x")], tools=TOOLS)) == ("file", "more")


@pytest.mark.parametrize("stated", [3, [3], [{"name": "x"}]])
def test_broken_folder_templates(tmp_path, stated):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": stated}))
    with pytest.raises(BadFile, match="chat_template: expected text or named templates"):
        load_chat(folder(tmp_path), tokens())


def test_without_a_template():
    known = load_chat(gguf({}), tokens("<|im_start|>", "<|im_end|>"))
    assert known.render([user("x")]) == "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n"
    with pytest.raises(BadInput, match=r"no chat template .*`divebell run` \(in Python: generate\), or, if it is a"):
        load_chat(gguf({}), tokens()).render([user("x")])


def test_reasoning_is_told_apart_for_templates_that_know_of_it():
    reasoning, plain = ChatFormat({"default": R1_LIKE}, NAMED), ChatFormat({"default": CHATML}, {})
    opened = reasoning.render([user("x")])
    assert reasoning.governed_after(opened) == "</think>"
    assert reasoning.parser(opened).push("hm") == [Reasoning(""), Reasoning("hm")]
    for prompt in ("<｜Assistant｜>", "<｜Assistant｜></think>", ""):
        assert reasoning.governed_after(prompt) is None
        assert reasoning.parser(prompt).push("hm") == [Content("hm")]
    assert reasoning.parser("<｜Assistant｜>").push("<think>hm") == [Reasoning(""), Reasoning("hm")]
    assert plain.governed_after("<think>") is None
    assert plain.parser("<think>").push("hm</think>") == [Content("hm</think>")]


def test_mistrals_marks_of_reasoning():
    chat = ChatFormat({"default": "[THINK][/THINK] [TOOL_CALLS]"}, {})
    assert chat.governed_after("[INST]x[/INST][THINK]\n") == "[/THINK]"
    assert chat.marks >= {"[THINK]", "[/THINK]", "[TOOL_CALLS]"}


def test_calls_are_told_apart_only_where_there_are_tools():
    chat = ChatFormat({"default": CHATML + "<tool_call>"}, {})
    text = '<tool_call>{"name": "f"}</tool_call>'
    assert chat.parser("", None).push(text) == chat.parser("", []).push(text) == [Content(text)]
    assert chat.parser("", TOOLS).push(text)[0] == CallStart(0, "f", None)
    assert (chat.parser("", None).marks, chat.parser("", TOOLS).marks) == (set(), {"<tool_call>", "</tool_call>"})


@pytest.mark.parametrize(
    ("source", "tokens_", "dialect"),
    [
        ("<｜tool▁sep｜>```json", (), "r1"),
        ("<｜tool▁sep｜>", ("<tool_call>",), "v31"),
        ("｜DSML｜function_calls", (), "v32"),
        ("[TOOL_CALLS]", (), "mistral listed"),
        ("[TOOL_CALLS] [ARGS]", (), "mistral named"),
        ("<|python_tag|>", ("<tool_call>",), "llama3"),
        ("<tool_call>", ("<|python_tag|>",), "hermes"),
        ("", ("<tool_call>", "<｜tool▁sep｜>"), "r1"),
        ("", ("[TOOL_CALLS]", "[ARGS]"), "mistral named"),
        ("", ("<|start_header_id|>",), "llama3"),
        ("", ("<tool_call>",), "hermes"),
        ("", (), "hermes"),
    ],
)
def test_the_dialect_that_a_template_or_a_vocabulary_gives_away(source, tokens_, dialect):
    chat = ChatFormat({"default": source}, {}, tokens(*tokens_).token_id)
    assert chat.dialect is DIALECTS[dialect]


@pytest.mark.parametrize(
    ("fields", "tokens_", "prompt"),
    [
        ({"general.architecture": "deepseek4"}, (), "<｜begin▁of▁sentence｜><｜User｜>x<｜Assistant｜><think>"),
        ({}, ("<｜latest_reminder｜>", "<｜User｜>"), "<｜begin▁of▁sentence｜><｜User｜>x<｜Assistant｜><think>"),
        ({"model_type": "deepseek_v32"}, (), "<｜begin▁of▁sentence｜><｜User｜>x<｜Assistant｜><think>"),
        ({"model_type": "deepseek_v32", "tokenizer.chat_template": "V3.2-Exp's"}, (), "V3.2-Exp's"),
        (
            {"tokenizer.chat_template": "a copy <｜DSML｜tool_calls>"},
            (),
            "<｜begin▁of▁sentence｜><｜User｜>x<｜Assistant｜><think>",
        ),
        (
            {"tokenizer.chat_template": "a copy <｜DSML｜x>"},
            (),
            "<｜begin▁of▁sentence｜><｜User｜>x<｜Assistant｜><think>",
        ),
        ({"model_type": "deepseek_v3"}, ("<｜User｜>", "<｜Assistant｜>"), "<s><｜User｜>x<｜Assistant｜>"),
    ],
)
def test_models_whose_prompts_are_made_by_code(fields, tokens_, prompt):
    chat = load_chat(gguf(fields), tokens(*tokens_))
    assert chat.render([user("x")]) == prompt


def test_a_developer_is_the_system_where_the_template_knows_none():
    talk = [{"role": "developer", "content": "Be kind."}, user("x")]
    assert ChatFormat({"default": R1_LIKE}, NAMED).render(talk) == "<s>Be kind.<｜User｜>x<｜Assistant｜><think>\n"
    knowing = ChatFormat({"default": "{# developer #}" + CHATML}, {})
    assert knowing.render(talk).startswith("<|im_start|>developer\nBe kind.")


def test_a_reminder_is_refused_where_it_would_be_lost():
    with pytest.raises(BadInput, match=r"messages\[0\]\.role is 'latest_reminder', which DeepSeek-V4 alone knows"):
        ChatFormat({"default": CHATML}, {}).render([{"role": "latest_reminder", "content": "x"}])


@pytest.mark.parametrize("template", [CHATML, R1_LIKE], ids=["chatml", "r1"])
@pytest.mark.parametrize("begun", ["Once upon", " é\n  x", "<｜User｜>q"])
def test_a_message_that_goes_on_ends_where_transformers_ends_it(theirs, template, begun):
    talk, chat = [user(begun), assistant("a"), user("q"), assistant(begun)], ChatFormat({"default": template}, NAMED)
    given = {"chat_template": template, "tokenize": False, "continue_final_message": True}
    assert chat.unfinished(talk) == theirs.apply_chat_template(talk, **given)
    assert chat.unfinished([*talk[:-1], assistant(f"{begun} \n")]).endswith(f"{begun} \n")


@pytest.mark.parametrize("code", [v32, v4])
def test_so_it_does_in_prompts_made_by_code(code):
    chat, begun = ChatFormat({}, {}, code=code), assistant("Once", reasoning_content="r")
    assert chat.unfinished([user("q"), begun]).endswith("<｜User｜>q<｜Assistant｜><think>r</think>Once")


def test_only_a_text_of_the_assistant_s_can_go_on():
    for last in (user("x"), assistant("x", tool_calls=[CALL]), assistant([{"type": "text", "text": "x"}])):
        with pytest.raises(BadInput, match="messages: the last one is to go on, so it must be the assistant's"):
            ChatFormat({"default": CHATML}, {}).unfinished([user("q"), last])
    with pytest.raises(BadTemplate, match="leaves out the end of the last message"):
        ChatFormat({"default": "x"}, {}).unfinished([user("q"), assistant("x")])

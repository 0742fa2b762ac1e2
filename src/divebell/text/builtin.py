"""Chat formats for files that come without a template, chosen by the control tokens in their vocabulary.

Formats: DeepSeek-V2, DeepSeek-V3 and DeepSeek-R1 READMEs; meta-llama/llama-models, llama3 prompt format;
mistral-common, instruct v3; OpenAI's ChatML. Text only: tools are spelled as text (`divebell.text.spelling`).
"""

DEEPSEEK_V3 = """
{{- bos_token }}
{%- for m in messages if m.role == 'system' %}{{ m.content }}{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endfor %}
{%- for m in messages %}
    {%- if m.role == 'user' %}{{ '<｜User｜>' + m.content }}
    {%- elif m.role == 'assistant' %}{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + eos_token }}
    {%- elif m.role != 'system' %}{{ raise_exception('only system, user and assistant') }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"""

DEEPSEEK_R1 = DEEPSEEK_V3.replace("'<｜Assistant｜>' }}{% endif %}", "'<｜Assistant｜><think>\\n' }}{% endif %}")

DEEPSEEK_V2 = """
{{- bos_token }}
{%- for m in messages %}
    {%- if m.role == 'system' %}{{ m.content + '\\n\\n' }}
    {%- elif m.role == 'user' %}{{ 'User: ' + m.content + '\\n\\n' }}
    {%- elif m.role == 'assistant' %}{{ 'Assistant: ' + m.content + eos_token }}
    {%- else %}{{ raise_exception('only system, user and assistant') }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"""

LLAMA3 = """
{{- bos_token }}
{%- for m in messages %}
    {{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""

MISTRAL = """
{{- bos_token }}
{%- set first = messages[0].content + '\\n\\n' if messages[0].role == 'system' else '' %}
{%- set turns = messages[1:] if first else messages %}
{%- for m in turns %}
    {%- if m.role == 'user' %}{{ '[INST] ' + (first if loop.last else '') + m.content + '[/INST]' }}
    {%- elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}
    {%- else %}{{ raise_exception('only user and assistant, after one system message') }}
    {%- endif %}
{%- endfor %}"""

CHATML = """
{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

# Tokens that must all be there -> the format; the first that fits is taken.
FORMATS = (
    (("<｜User｜>", "<｜Assistant｜>", "<think>"), DEEPSEEK_R1),
    (("<｜User｜>", "<｜Assistant｜>"), DEEPSEEK_V3),
    (("<|start_header_id|>", "<|eot_id|>"), LLAMA3),
    (("<|im_start|>", "<|im_end|>"), CHATML),
    (("[INST]", "[/INST]"), MISTRAL),
    (("<｜begin▁of▁sentence｜>",), DEEPSEEK_V2),
)


def template_for(tokenizer) -> str | None:
    """The format that the tokenizer's control tokens point to, or None."""
    for tokens, template in FORMATS:
        if all(tokenizer.token_id(token) is not None for token in tokens):
            return template
    return None

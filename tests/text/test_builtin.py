import pytest

from divebell.errors import BadInput
from divebell.text import builtin
from divebell.text.chat import ChatFormat

TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "<think>hm</think>Hello"},
    {"role": "user", "content": "Bye"},
]
NAMED = {"bos_token": "<s>", "eos_token": "</s>"}


class Vocabulary:
    def __init__(self, *tokens):
        self.tokens = tokens

    def token_id(self, token):
        return self.tokens.index(token) if token in self.tokens else None


@pytest.mark.parametrize(
    ("tokens", "prompt"),
    [
        (
            ["<｜User｜>", "<｜Assistant｜>"],
            "<s>Be kind.<｜User｜>Hi<｜Assistant｜>Hello</s><｜User｜>Bye<｜Assistant｜>",
        ),
        (
            ["<｜User｜>", "<｜Assistant｜>", "<think>"],
            "<s>Be kind.<｜User｜>Hi<｜Assistant｜>Hello</s><｜User｜>Bye<｜Assistant｜><think>\n",
        ),
        (
            ["<｜begin▁of▁sentence｜>"],
            "<s>Be kind.\n\nUser: Hi\n\nAssistant: <think>hm</think>Hello</s>User: Bye\n\nAssistant:",
        ),
        (
            ["<|start_header_id|>", "<|eot_id|>"],
            "<s><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n<think>hm</think>Hello<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (
            ["<|im_start|>", "<|im_end|>"],
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\n<think>hm</think>Hello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
            "<|im_start|>assistant\n",
        ),
        (["[INST]", "[/INST]"], "<s>[INST] Hi[/INST] <think>hm</think>Hello</s>[INST] Be kind.\n\nBye[/INST]"),
    ],
)
def test_the_prompt_that_the_vocabulary_points_to(tokens, prompt):
    template = builtin.template_for(Vocabulary(*tokens))
    assert ChatFormat({"default": template}, NAMED).render(TALK) == prompt


def test_two_system_messages_stand_apart():
    twice = [TALK[0], TALK[0], TALK[1]]
    prompt = ChatFormat({"default": builtin.DEEPSEEK_V3}, NAMED).render(twice, add_generation_prompt=False)
    assert prompt == "<s>Be kind.\n\nBe kind.<｜User｜>Hi"


def test_an_unknown_vocabulary_points_nowhere():
    assert builtin.template_for(Vocabulary("a", "b")) is None


def test_a_role_that_the_format_lacks_is_refused():
    with pytest.raises(BadInput, match="refuses them: only system, user and assistant"):
        ChatFormat({"default": builtin.DEEPSEEK_V3}, NAMED).render([*TALK, {"role": "function", "content": "x"}])

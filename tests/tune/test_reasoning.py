"""Reasoning is learned where the model says it, whatever its chat template leaves out."""

import json
from pathlib import Path

import pytest
from talkers import talker

from divebell.errors import BadInput
from divebell.text.chat import load_chat
from divebell.text.tokenizer import load_tokenizer
from divebell.tune.conversation import Speaker, answered
from divebell.tune.data import read_samples, shown
from divebell.weights.checkpoint import open_checkpoint

TEMPLATES = Path(__file__).parent.parent / "text" / "data" / "templates"
ASKED = {"role": "user", "content": "2+3?"}
INLINE = {"role": "assistant", "content": "<think>\nTwo and three\n</think>\n\n5"}
FIELD = {"role": "assistant", "content": "5", "reasoning_content": "Two and three"}
TURN = (
    "{% for m in messages %}{% if m.role == 'user' %}<user>{{ m.content }}{% else %}<assistant>CLOSED"
    "{{ m.content.split('</think>')[-1] }}<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>OPEN{% endif %}"
)
OPENED = TURN.replace("CLOSED", "").replace("OPEN", "<think>\n")  # as later templates of DeepSeek-R1
SWITCHED = TURN.replace("CLOSED", "</think>").replace("OPEN", "{{ '<think>' if thinking else '</think>' }}")  # V3.1


@pytest.fixture(scope="module")
def speak(tmp_path_factory):
    def made(template: str) -> Speaker:
        checkpoint = open_checkpoint(talker(tmp_path_factory.mktemp("talker"), template=template))
        tokenizer = load_tokenizer(checkpoint)
        return Speaker(tokenizer, load_chat(checkpoint, tokenizer), 400)

    return made


def stored(name: str) -> str:
    return (TEMPLATES / f"{name}.jinja").read_text().replace("<｜end▁of▁sentence｜>", "<|im_end|>")


def learned(speaker: Speaker, folder: Path, *messages: dict) -> list[str]:
    path = folder / "rows.jsonl"
    path.write_text(json.dumps({"messages": messages}))
    return [shown(sample, speaker.tokenizer) for sample in read_samples(path, speaker)]


@pytest.mark.parametrize("said", [INLINE, FIELD])
@pytest.mark.parametrize(
    ("template", "end"),
    [
        (stored("deepseek-r1-distill"), "<｜Assistant｜>⟦<think>\nTwo and three\n</think>\n\n5<|im_end|>⟧"),
        (stored("qwen3"), "assistant\n⟦<think>\nTwo and three\n</think>\n\n5<|im_end|>⟧\n"),
        (OPENED, "<assistant><think>\n⟦Two and three\n</think>\n\n5<|im_end|>⟧"),
    ],
)
def test_the_reasoning_is_said_before_the_answer(said, template, end, speak, tmp_path):
    (text,) = learned(speak(template), tmp_path, ASKED, said)
    assert text.endswith(end)


def test_the_prompt_is_the_one_that_asks_for_reasoning(speak, tmp_path):
    (text,) = learned(speak(SWITCHED), tmp_path, ASKED, FIELD)
    assert text == "<user>2+3?<assistant><think>⟦Two and three</think>5<|im_end|>⟧"
    (text,) = learned(speak(SWITCHED), tmp_path, ASKED, {"role": "assistant", "content": "5"})
    assert text == "<user>2+3?<assistant></think>⟦5<|im_end|>⟧"


def test_earlier_turns_are_without_their_reasoning(speak, tmp_path):
    first, second = learned(speak(stored("deepseek-r1-distill")), tmp_path, ASKED, INLINE, ASKED, FIELD)
    assert first.count("Two and three") == second.count("Two and three") == 1
    assert second.startswith("<｜User｜>2+3?<｜Assistant｜>\n\n5<|im_end|><｜User｜>")


def test_preferred_answers_keep_it(speak):
    speaker = speak(stored("deepseek-r1-distill"))
    assert shown(answered([ASKED], INLINE["content"], None, speaker), speaker.tokenizer).endswith(
        "⟦<think>\nTwo and three\n</think>\n\n5<|im_end|>⟧"
    )


def test_what_can_not_be_written_is_refused(speak, tmp_path):
    with pytest.raises(BadInput, match="line 1: has reasoning, and this model's chat template knows none"):
        learned(speak("{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"), tmp_path, ASKED, FIELD)
    with pytest.raises(BadInput, match="line 1: has reasoning that this model's chat template leaves out"):
        learned(speak(stored("deepseek-r1-distill")), tmp_path, FIELD)

"""What the assistant says is encoded as it is when the model is asked."""

import pytest
from small_tokenizers import gguf, sentencepiece_fields, sentencepiece_model

from divebell.text.chat import ChatFormat
from divebell.text.tokenizer import load_tokenizer
from divebell.tune.conversation import Speaker, conversation
from divebell.tune.data import prompted

INSTRUCTION = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def speaker():
    """One whose tokenizer begins each text with a space, as Llama 2's."""
    tokenizer = load_tokenizer(gguf(sentencepiece_fields(sentencepiece_model())))
    return Speaker(tokenizer, ChatFormat({"default": INSTRUCTION}, tokenizer.named_tokens, tokenizer.token_id), 1000)


def test_turns_have_no_space_but_the_templates(speaker):
    said = [("user", "the fox"), ("assistant", "jumps over"), ("user", "the dog"), ("assistant", "and the dog")]
    messages = [{"role": role, "content": content} for role, content in said]
    (sample,) = conversation(messages, None, speaker)
    whole = speaker.chat.render(messages, add_generation_prompt=False)
    assert sample.ids.tolist() == speaker.tokenizer.encode(whole, add_special_tokens=False)


@pytest.mark.parametrize(
    ("prompt", "completion"), [("2+3=", "5"), ("The quick brown", " fox jumps"), ("", "fox"), ("a\n", "fox")]
)
def test_a_completion_goes_on_where_its_prompt_ends(prompt, completion, speaker):
    sample, tokenizer = prompted(prompt, completion, speaker), speaker.tokenizer
    assert tokenizer.decode(sample.ids) == prompt + completion
    assert sample.ids[~sample.trained].tolist() == tokenizer.encode(prompt)
    assert tokenizer.decode(sample.ids[~sample.trained]) == prompt

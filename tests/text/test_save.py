"""A GGUF's tokenizer and template, read again from the files that were written."""

from types import SimpleNamespace

import pytest
from small_tokenizers import TEXTS, byte_level_library, gguf, gguf_fields

from divebell.text.chat import load_chat
from divebell.text.save import save_tokenizer
from divebell.text.tokenizer import load_tokenizer

TALK = [{"role": "user", "content": "Hi"}]
TEMPLATES = {
    "tokenizer.chat_template": "{% for m in messages %}<{{ m.content }}>{% endfor %}{{ eos_token }}",
    "tokenizer.chat_template.tool_use": "{{ tools | length }}",
}


def byte_level():
    marks = ("<|im_start|>", "<|im_end|>")
    library = byte_level_library(special=marks)
    ends = {"eos_token_id": library.token_to_id(marks[1])}
    return gguf(gguf_fields(library, "gpt-2", **ends) | TEMPLATES)


@pytest.mark.parametrize("kind", ["byte-level", "sentencepiece"])
def test_a_folder_speaks_as_the_gguf_did(kind, tmp_path, sentencepiece_fields):
    source = byte_level() if kind == "byte-level" else gguf(sentencepiece_fields | TEMPLATES)
    save_tokenizer(source, tmp_path)
    folder = SimpleNamespace(kind="safetensors", path=tmp_path, config={})
    before, after = load_tokenizer(source), load_tokenizer(folder)
    for text in TEXTS:
        assert after.encode(text) == before.encode(text)
        assert after.decode(after.encode(text)) == before.decode(before.encode(text))
    assert (after.bos_id, after.eos_ids, after.named_tokens) == (before.bos_id, before.eos_ids, before.named_tokens)
    chats = load_chat(source, before), load_chat(folder, after)
    assert chats[0].templates == chats[1].templates
    assert chats[0].render(TALK) == chats[1].render(TALK)

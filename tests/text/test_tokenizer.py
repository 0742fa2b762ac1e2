from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizers import TEXTS, byte_level_library, folder, gguf, gguf_fields

from divebell.errors import BadInput
from divebell.text.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer(gguf(gguf_fields(byte_level_library(special=("<|im_end|>",)), "gpt-2")))


@settings(deadline=None)
@given(text=st.text())
def test_text_comes_back(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text), skip_special_tokens=False) == text


@pytest.mark.parametrize("value", [None, 3, b"x", ["x"]])
def test_only_text_is_encoded(value):
    with pytest.raises(BadInput, match="give a string"):
        TOKENIZER.encode(value)


def test_lone_surrogates_are_named():
    with pytest.raises(BadInput, match=r"character 2 is a lone surrogate, '\\ud800'"):
        TOKENIZER.encode("ab\ud800")


def test_ids_without_a_token():
    assert TOKENIZER.decode([10**6, TOKENIZER.vocabulary_size]) == ""
    with pytest.raises(BadInput, match="token id -1 is negative"):
        TOKENIZER.decode([-1])


@pytest.mark.parametrize("ids", [None, 5, "ab", [None], ["a"], [1.5], [[1]], [True]])
def test_only_ids_are_decoded(ids):
    with pytest.raises(BadInput, match="give a list of token ids"):
        TOKENIZER.decode(ids)


def test_special_tokens_are_hidden_or_shown():
    ids = TOKENIZER.encode("fox<|im_end|>")
    assert TOKENIZER.decode(ids) == "fox"
    assert TOKENIZER.decode(ids, skip_special_tokens=False) == "fox<|im_end|>"
    assert TOKENIZER.is_special(ids[-1])
    assert not TOKENIZER.is_special(ids[0])


def test_the_text_of_one_token(sentencepiece_tokenizer):
    shown = [sentencepiece_tokenizer.token_text(id) for id in sentencepiece_tokenizer.encode("the dog")]
    assert "".join(shown) == "<s> the dog"
    assert [TOKENIZER.token_text(id) for id in (TOKENIZER.encode("<|im_end|>")[0], 10**6)] == ["<|im_end|>", ""]
    assert TOKENIZER.token_text(TOKENIZER.token_id("Ã")) == "\ufffd"


@pytest.mark.parametrize(
    ("before", "text"), [("2+3=", "5"), ("The", " fox"), ("The\n", "fox"), ("<s>The fox</s>", "\n")]
)
def test_a_text_goes_on_without_a_space_of_its_own(before, text, sentencepiece_tokenizer):
    for tokenizer in (TOKENIZER, sentencepiece_tokenizer):
        ids = tokenizer.encode(before, add_special_tokens=False) + tokenizer.encode_after(before, text)
        whole = tokenizer.encode(before + text, add_special_tokens=False)
        assert tokenizer.decode(ids) == tokenizer.decode(whole)
    assert sentencepiece_tokenizer.encode_after("", "fox") == sentencepiece_tokenizer.encode("fox")[1:]


def test_a_pattern_that_explodes_is_an_error(tmp_path, capfd):
    byte_level_library("(q+)+r").save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(folder(tmp_path))
    with pytest.raises(BadInput, match="text of 60 characters is beyond this model's tokenizer"):
        tokenizer.encode("q" * 60)
    assert tokenizer.decode(tokenizer.encode("fox")) == "fox"


def test_threads_share_one():
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda text: TOKENIZER.decode(TOKENIZER.encode(text), False), TEXTS * 20))
    assert made == TEXTS * 20


def test_an_answer_shows_the_marks_that_its_parser_wants_and_no_other_control_tokens():
    library = byte_level_library(special=("<|eot|>", "[CALLS]"))
    library.add_tokens(["<｜User｜>", "<think>", "<b>"])  # as DeepSeek's files have them: not special
    tokenizer = load_tokenizer(gguf(gguf_fields(library, "llama-bpe")))
    ids = tokenizer.encode("a<｜User｜><think>[CALLS]<b><|eot|>b", add_special_tokens=False)

    def shown(**options) -> str:
        detokenizer = tokenizer.detokenizer(**options)
        return "".join(map(detokenizer.push, ids)) + detokenizer.flush()

    assert shown() == "a<｜User｜><think><b>b"
    assert shown(marks={"[CALLS]", "<think>"}) == "a<think>[CALLS]<b>b"
    assert shown(marks=()) == "a<think><b>b"

from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizers import TEXTS, byte_level_library, gguf, gguf_fields

from divebell.text.detokenizer import Detokenizer, byte_letters
from divebell.text.tokenizer import load_tokenizer

LIBRARY = byte_level_library(special=("<|im_end|>",))
BYTE_LEVEL = load_tokenizer(gguf(gguf_fields(LIBRARY, "gpt-2")))


def pieces(tokenizer, ids, skip=True):
    detokenizer = tokenizer.detokenizer(skip)
    return [detokenizer.push(id) for id in ids] + [detokenizer.flush()]


@settings(deadline=None)
@given(ids=st.lists(st.integers(0, BYTE_LEVEL.vocabulary_size - 1)))
def test_pieces_join_to_the_whole(ids):
    assert "".join(pieces(BYTE_LEVEL, ids)) == LIBRARY.decode(ids, skip_special_tokens=True)


@settings(deadline=None)
@given(text=st.text())
def test_valid_text_never_shows_half_a_character(text):
    shown = pieces(BYTE_LEVEL, BYTE_LEVEL.encode(text), skip=False)
    assert "".join(shown) == text
    assert "".join(shown).count("\ufffd") == text.count("\ufffd")


@settings(deadline=None)
@given(data=st.binary())
def test_broken_bytes_are_replaced_as_python_does_and_no_later_than_known(data):
    detokenizer = Detokenizer(lambda byte: bytes([byte]))
    shown = ""
    for end, byte in enumerate(data, 1):
        shown += detokenizer.push(byte)
        certain = data[:end].decode(errors="replace")
        assert certain.startswith(shown)
        assert len(certain) - len(shown) <= 3  # broken bytes that wait become a sign each
    assert shown + detokenizer.flush() == data.decode(errors="replace")


def test_a_character_is_shown_when_its_last_byte_comes():
    detokenizer = Detokenizer(lambda byte: bytes([byte]))
    assert [detokenizer.push(byte) for byte in "é😀".encode()] == ["", "é", "", "", "", "😀"]
    assert detokenizer.push(0xF0) + detokenizer.flush() == "\ufffd"


def test_sentencepiece_drops_one_space_at_the_start(sentencepiece_model, sentencepiece_tokenizer):
    for text in [" two", "  three", "", " ", "x", *[text for text in TEXTS if "<" not in text]]:
        ids = sentencepiece_model.encode(text)
        assert "".join(pieces(sentencepiece_tokenizer, ids)) == text
        assert "".join(pieces(sentencepiece_tokenizer, [1, *ids])) == text


def test_sentencepiece_bytes_join_to_characters(sentencepiece_model, sentencepiece_tokenizer):
    ids = sentencepiece_model.encode("🦑")
    assert len(ids) > 2
    assert [piece for piece in pieces(sentencepiece_tokenizer, ids) if piece] == ["🦑"]
    assert "".join(pieces(sentencepiece_tokenizer, ids[:-1])) == "\ufffd"


def test_byte_letters_are_the_librarys():
    from tokenizers import pre_tokenizers

    assert sorted(byte_letters()) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(byte_letters().values()) == list(range(256))

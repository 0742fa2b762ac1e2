"""A SentencePiece model made here, and its GGUF metadata."""

import pytest
import small_tokenizers
from small_tokenizers import gguf

from divebell.text.tokenizer import load_tokenizer


@pytest.fixture(scope="session")
def sentencepiece_model():
    return small_tokenizers.sentencepiece_model()


@pytest.fixture(scope="session")
def sentencepiece_fields(sentencepiece_model) -> dict:
    return small_tokenizers.sentencepiece_fields(sentencepiece_model)


@pytest.fixture(scope="session")
def sentencepiece_tokenizer(sentencepiece_fields):
    return load_tokenizer(gguf(sentencepiece_fields))

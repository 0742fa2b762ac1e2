"""A SentencePiece model made here, and its GGUF metadata."""

import io

import numpy as np
import pytest
from small_tokenizers import CORPUS, gguf

from divebell.text.tokenizer import load_tokenizer


@pytest.fixture(scope="session")
def sentencepiece_model():
    """A SentencePiece BPE model like Llama 2's: bytes for what it doesn't know, nothing normalised."""
    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=written,
        model_type="bpe",
        vocab_size=700,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        character_coverage=0.98,
        split_digits=True,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())


@pytest.fixture(scope="session")
def sentencepiece_fields(sentencepiece_model) -> dict:
    """The metadata that a GGUF file of `sentencepiece_model` has."""
    model = sentencepiece_model
    ids = range(model.vocab_size())
    kinds = [2 if model.is_unknown(i) else 3 if model.is_control(i) else 6 if model.is_byte(i) else 1 for i in ids]
    fields = {
        "model": "llama",
        "tokens": [model.id_to_piece(i) for i in ids],
        "scores": np.array([model.get_score(i) for i in ids], np.float32),
        "token_type": np.array(kinds, np.int32),
        "bos_token_id": np.uint32(model.bos_id()),
        "eos_token_id": np.uint32(model.eos_id()),
        "unknown_token_id": np.uint32(model.unk_id()),
    }
    return {f"tokenizer.ggml.{key}": value for key, value in fields.items()}


@pytest.fixture(scope="session")
def sentencepiece_tokenizer(sentencepiece_fields):
    return load_tokenizer(gguf(sentencepiece_fields))

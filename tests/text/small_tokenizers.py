"""Small tokenizers of each kind, made here, and the texts that they are held against each other with."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tokenizers

from divebell.text.presplit import LLAMA3

CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind. I'll say they're friends.",
    "def area(radius):\n    return 3.14159 * radius ** 2  # circle\n\nprint(area(10))\n",
    "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。 こんにちは世界。 안녕하세요 세계.",
    "Пусть всегда будет солнце! Ünïcödé straße naïve café. مرحبا بالعالم שלום",
    "1234567890 2024-11-24 1,000,000.50 $9.99 50% a_b-c/d\\e @f #g [h] {i} <j> 😀👍🏽",
] * 4

TEXTS = [
    "",
    "Hello world",
    "  leading, trailing  ",
    "a\n\nb\r\n\tc \n   d\u00a0\u2003e",
    "def f(x):\n    if x and not y[0]:\n        return {'k': x**2}  # 10%\n",
    "1 12 123 1234 12345 3.14159 ½ ² ٣٤٥",
    "天地玄黄，你好 こんにちは 안녕",
    "Привет мир! naïve ﬁ ǅ e\u0301 Å",
    "😀👍🏽 👨‍👩‍👧 🇫🇷 \x00\x01\x1f\x7f\ufeff",
    "I'll WON'T they'RE 'S don't",
    "<|im_start|>user\n<|im_end|> <s> </s> <|im_st <think>",
    "a" * 100 + " " * 33 + "\n" * 7,
]


def byte_level_library(pattern: str = LLAMA3, special: tuple[str, ...] = ()) -> tokenizers.Tokenizer:
    """A byte-level BPE tokenizer trained by the library itself, with `pattern` as its way of cutting."""
    library = tokenizers.Tokenizer(tokenizers.models.BPE())
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    library.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([split, byte_level])
    library.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(special),
        show_progress=False,
    )
    library.train_from_iterator(CORPUS, trainer)
    return library


def gguf_fields(library: tokenizers.Tokenizer, pre: str, **more) -> dict:
    """The metadata that a GGUF file of this byte-level tokenizer has."""
    state = json.loads(library.to_str())
    added = {token["id"]: token for token in state["added_tokens"]}
    ids = state["model"]["vocab"] | {token["content"]: id for id, token in added.items()}
    tokens = sorted(ids, key=ids.get)
    types = [(3 if added[i]["special"] else 4) if i in added else 1 for i in range(len(tokens))]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in state["model"]["merges"]]
    fields = {"model": "gpt2", "pre": pre, "tokens": tokens, "token_type": np.array(types, np.int32), "merges": merges}
    return {f"tokenizer.ggml.{key}": value for key, value in (fields | more).items()}


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


def sentencepiece_fields(model) -> dict:
    """The metadata that a GGUF file of a SentencePiece model has."""
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


def gguf(fields: dict) -> SimpleNamespace:
    """What `load_tokenizer` sees of a GGUF checkpoint."""
    return SimpleNamespace(kind="gguf", path=Path("model.gguf"), config=fields)


def folder(path: Path) -> SimpleNamespace:
    return SimpleNamespace(kind="safetensors", path=path, config={})

"""The tokenizer inside a GGUF file: `tokenizer.ggml.*` metadata to a `tokenizers.Tokenizer`.

Source: ggml-org/ggml docs/gguf.md, and llama.cpp's src/llama-vocab.cpp for the defaults of keys that are left out.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Library

from divebell.errors import BadFile, Unsupported
from divebell.text.detokenizer import WORD_START
from divebell.text.presplit import Presplit, presplit
from divebell.text.tokenizer import Tokenizer, end_ids

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
NAMED = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}
PREFIX = "tokenizer.ggml."


class Vocabulary:
    """`tokenizer.ggml.*`, each value checked when it is asked for. Raises BadFile naming the key."""

    def __init__(self, fields: Mapping, path: Path):
        self._fields, self.path = fields, path
        self.tokens = [token or f"[EMPTY_{i}]" for i, token in enumerate(self.strings("tokens"))]
        self.types = self._types()
        self.ids = dict(zip(self.tokens, range(len(self.tokens)), strict=True))

    def get(self, name: str, kind: type, default=None):
        value = self._fields.get(PREFIX + name, default)
        value = value.item() if isinstance(value, np.generic) else value
        if value is not None and type(value) is not kind:
            raise self.bad(name, f"expected {kind.__name__}, found {type(value).__name__}")
        return value

    def strings(self, name: str) -> list[str]:
        value = self._fields.get(PREFIX + name)
        if value is None:
            raise self.bad(name, "missing")
        if not isinstance(value, list | tuple | np.ndarray) or not set(map(type, value)) <= {str, np.str_}:
            raise self.bad(name, "expected an array of strings")
        return list(value)

    def numbers(self, name: str) -> np.ndarray | None:
        """One number for each token, or None when the file has none."""
        value = self._fields.get(PREFIX + name)
        if value is None:
            return None
        array = np.asarray(value)
        if array.shape != (len(self.tokens),) or array.dtype.kind not in "iuf":
            raise self.bad(name, f"expected {len(self.tokens)} numbers, one for each token")
        return array

    def token_id(self, name: str) -> int | None:
        value = self.get(name, int)
        if value is not None and not 0 <= value < len(self.tokens):
            raise self.bad(name, f"{value} is outside the vocabulary of {len(self.tokens)}")
        return value

    def of_type(self, kind: int) -> list[str]:
        return [self.tokens[i] for i in np.flatnonzero(self.types == kind)]

    def named_tokens(self) -> dict[str, str]:
        ids = {name: self.token_id(key) for name, key in NAMED.items()}
        return {name: self.tokens[id] for name, id in ids.items() if id is not None}

    def bad(self, name: str, problem: str) -> BadFile:
        return BadFile(self.path, PREFIX + name, problem)

    def _types(self) -> np.ndarray:
        types = self.numbers("token_type")
        return np.full(len(self.tokens), NORMAL) if types is None else types


def read_tokenizer(checkpoint) -> Tokenizer:
    """Raises BadFile naming the metadata key, Unsupported for an unknown `tokenizer.ggml.model` or `.pre`."""
    name = checkpoint.config.get(PREFIX + "model")
    if not isinstance(name, str) or name not in KINDS:
        raise Unsupported(PREFIX + "model", name, known=list(KINDS), path=checkpoint.path)
    return KINDS[name](Vocabulary(checkpoint.config, checkpoint.path))


def byte_level(vocabulary: Vocabulary) -> Tokenizer:
    way = presplit(vocabulary.get("pre", str, "default"), vocabulary.path)
    library = Library(byte_level_model(vocabulary, way))
    library.normalizer = normalizers.NFC() if way.nfc else None
    cuts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in way.patterns]
    library.pre_tokenizer = pre_tokenizers.Sequence([*cuts, pre_tokenizers.ByteLevel(False, use_regex=False)])
    return finish(library, vocabulary, byte_level=True, adds_bos=way.adds_bos)


def byte_level_model(vocabulary: Vocabulary, way: Presplit) -> models.BPE:
    merges = [tuple(merge.split(" ")) for merge in vocabulary.strings("merges")]
    if set(map(len, merges)) - {2}:
        raise vocabulary.bad("merges", "expected two tokens with a space between them in each")
    return make_bpe(vocabulary, merges, ignore_merges=way.whole_words)


def sentencepiece(vocabulary: Vocabulary) -> Tokenizer:
    unknown = vocabulary.token_id("unknown_token_id")
    unknown_token = None if unknown is None else vocabulary.tokens[unknown]
    merges = scored_merges(vocabulary)
    library = Library(make_bpe(vocabulary, merges, byte_fallback=True, unk_token=unknown_token, fuse_unk=True))
    space_first = vocabulary.get("add_space_prefix", bool, True)
    first = [normalizers.Prepend(WORD_START)] if space_first else []
    library.normalizer = normalizers.Sequence([*first, normalizers.Replace(" ", WORD_START)])
    return finish(library, vocabulary, byte_level=False, adds_bos=True, drop_space=space_first)


def scored_merges(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """SentencePiece joins whichever neighbours make the best-scored token: every cut of every token, best first."""
    scores = vocabulary.numbers("scores")
    if scores is None:
        raise vocabulary.bad("scores", "missing")
    order = np.argsort(-scores, kind="stable")
    words = [vocabulary.tokens[i] for i in order[vocabulary.types[order] == NORMAL]]
    known = set(words)
    return [
        (word[:cut], word[cut:])
        for word in words
        for cut in range(1, len(word))
        if word[:cut] in known and word[cut:] in known
    ]


def make_bpe(vocabulary: Vocabulary, merges: list[tuple[str, str]], **options) -> models.BPE:
    try:
        return models.BPE(vocabulary.ids, merges, **options)
    except Exception as problem:  # the library raises Exception itself
        raise vocabulary.bad("merges", str(problem)) from None


def finish(
    library: Library, vocabulary: Vocabulary, *, byte_level: bool, adds_bos: bool, drop_space: bool = False
) -> Tokenizer:
    library.add_special_tokens([AddedToken(token, normalized=False) for token in vocabulary.of_type(CONTROL)])
    library.add_tokens([AddedToken(token, normalized=False) for token in vocabulary.of_type(USER_DEFINED)])
    begin = vocabulary.token_id("bos_token_id")
    ends = [vocabulary.token_id(name) for name in ("eos_token_id", "eot_token_id", "eom_token_id")]
    wrap(library, vocabulary, begin, ends[0], adds_bos)
    return Tokenizer(
        library,
        bos_id=begin,
        eos_ids=end_ids(library, ends),
        named_tokens=vocabulary.named_tokens(),
        byte_level=byte_level,
        drop_space=drop_space,
    )


def wrap(library: Library, vocabulary: Vocabulary, begin: int | None, end: int | None, adds_bos: bool) -> None:
    """Put the begin and end tokens around what is encoded, as far as the file asks for them."""
    front = begin if vocabulary.get("add_bos_token", bool, adds_bos) else None
    back = end if vocabulary.get("add_eos_token", bool, False) else None
    if front is not None or back is not None:
        library.post_processor = surround(front, back)


def surround(front: int | None, back: int | None) -> processors.TemplateProcessing:
    """The step that puts a token in front of and behind what is encoded; None puts none."""
    ids = {"front": front, "back": back}
    present = {name: id for name, id in ids.items() if id is not None}
    pieces = [name for name in ("front", "$A", "back") if name in present or name == "$A"]
    special = [{"id": name, "ids": [id], "tokens": [name]} for name, id in present.items()]
    return processors.TemplateProcessing(single=pieces, special_tokens=special)


KINDS = {"gpt2": byte_level, "llama": sentencepiece}

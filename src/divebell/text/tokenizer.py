"""Text to token ids and back, for every kind of checkpoint."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from copy import deepcopy
from functools import cached_property
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING

from divebell.errors import BadInput
from divebell.text.detokenizer import WORD_START, Detokenizer, byte_level_bytes, sentencepiece_bytes

if TYPE_CHECKING:
    import tokenizers

# A model that was tuned for chat ends its turn with one of these, whatever its file calls the end of text.
END_OF_TURN = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<｜end▁of▁sentence｜>",
    "<end_of_turn>",
)
CONTROL = re.compile(r"<[|｜][^<>]*[|｜]>")


def load_tokenizer(checkpoint) -> "Tokenizer":
    """The tokenizer of a checkpoint of either kind (`.kind`, `.path` and, for GGUF, `.config` are what is used).

    Raises BadFile for files that break their format, Unsupported for kinds of tokenizer that are not known.
    """
    if checkpoint.kind == "gguf":
        from divebell.text.gguf_vocabulary import read_tokenizer
    else:
        from divebell.text.folder import read_tokenizer
    return read_tokenizer(checkpoint)


def end_ids(library: "tokenizers.Tokenizer", stated: Iterable[int | None]) -> frozenset[int]:
    """The ids that a file states as ends, and those of well-known end-of-turn tokens that it marks as special."""
    special = {token.content: id for id, token in library.get_added_tokens_decoder().items() if token.special}
    return frozenset([id for id in stated if id is not None] + [special[end] for end in END_OF_TURN if end in special])


class Tokenizer:
    """Encodes with Hugging Face's `tokenizers`, decodes byte by byte; immutable, so all threads may share one.

    bos_id: the begin-of-text token's id or None. eos_ids: every id that ends a text or a turn.
    vocabulary_size: highest id + 1. named_tokens: what chat templates see, as `{"bos_token": "<s>", ...}`.
    """

    def __init__(
        self,
        library: "tokenizers.Tokenizer",
        *,
        bos_id: int | None,
        eos_ids: frozenset[int],
        named_tokens: Mapping[str, str],
        byte_level: bool,
        drop_space: bool = False,
    ):
        self._library = library
        self.bos_id, self.eos_ids, self.named_tokens = bos_id, eos_ids, dict(named_tokens)
        self._bytes_of: Callable[[str], bytes] = byte_level_bytes if byte_level else sentencepiece_bytes
        self._byte_level, self._drop_space = byte_level, drop_space
        self._added = library.get_added_tokens_decoder()
        self._special = frozenset(id for id, token in self._added.items() if token.special)
        self._seen: dict[int, bytes] = {}
        self.vocabulary_size = max(library.get_vocab_size(), max(self._added, default=-1) + 1)

    def save(self, path: Path) -> None:
        """As a tokenizer.json, with a decoder for those who decode with it: here bytes are told token by token."""
        library = deepcopy(self._library)
        library.decoder = _decoder(self._byte_level, self._drop_space)
        library.save(str(path))

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Ids of `text`, with the begin token in front where the model wants one.

        The text of a special token becomes that token, as `transformers` does it. Raises BadInput for what is not a
        string, or has a lone surrogate in it, which no encoding can hold.
        """
        if not isinstance(text, str):
            raise BadInput(f"text is {type(text).__name__}: give a string")
        try:
            text.encode()
        except UnicodeEncodeError as problem:
            raise BadInput(f"text: character {problem.start} is a lone surrogate, {text[problem.start]!r}") from None
        try:
            return self._library.encode(text, add_special_tokens=add_special_tokens).ids
        except BaseException as problem:
            if type(problem).__name__ != "PanicException":  # not an Exception: the library's way to say it gave up
                raise
            raise BadInput(f"text of {len(text)} characters is beyond this model's tokenizer: {problem}") from None

    def encode_after(self, before: str, text: str) -> list[int]:
        """Ids of `text` where it goes on after `before`, which is encoded by itself: without a space of the tokenizer's
        own in front, as SentencePiece begins each text with. Raises BadInput as `encode` does.
        """
        if not before or not text or not self._begins_with_space:
            return self.encode(text, add_special_tokens=False)
        added = (token.content for token in self._added.values() if before.endswith(token.content))
        anchor = max(added, key=len, default="\n")
        begun, whole = (self.encode(t, add_special_tokens=False) for t in (anchor, anchor + text))
        return whole[len(begun) :] if whole[: len(begun)] == begun else self.encode(text, add_special_tokens=False)

    @cached_property
    def _begins_with_space(self) -> bool:
        return b"".join(map(self.token_bytes, self.encode("a", add_special_tokens=False))).startswith(b" ")

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """The text of `ids`; an id that no token has (a padded embedding row) shows as nothing.

        Characters are exactly the tokens' own: nothing is cleaned up. Raises BadInput for what is no id, or negative.
        """
        detokenizer = self.detokenizer(skip_special_tokens)
        return "".join([detokenizer.push(id) for id in _integers(ids)]) + detokenizer.flush()

    def detokenizer(self, skip_special_tokens: bool = True, marks: Collection[str] | None = None) -> Detokenizer:
        """For one request: its `push(id)` pieces and last `flush()` join to what `decode` gives.

        marks: for an answer that a parser reads: these control tokens are text, and no other is, not even one that its
        file does not call special (DeepSeek's do so with `<｜User｜>`).
        """
        if marks is not None:
            return Detokenizer(lambda token_id: self._answer_bytes(token_id, marks), self._drop_space)
        return Detokenizer(self.visible_bytes if skip_special_tokens else self.token_bytes, self._drop_space)

    def _answer_bytes(self, token_id: int, marks: Collection[str]) -> bytes:
        added = self._added.get(token_id)
        if added is None or added.content in marks:
            return self.token_bytes(token_id)
        return b"" if added.special or CONTROL.fullmatch(added.content) else self.token_bytes(token_id)

    def visible_bytes(self, token_id: int) -> bytes:
        """The bytes of a token, b"" for a special one."""
        return b"" if token_id in self._special else self.token_bytes(token_id)

    def token_text(self, token_id: int) -> str:
        """One token as text, with its own space in front; U+FFFD for what is only part of a character."""
        return self.token_bytes(token_id).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for; b"" for an id that no token has."""
        known = self._seen.get(token_id)
        if known is None:
            known = self._seen[token_id] = self._spell(token_id)
        return known

    def _spell(self, token_id: int) -> bytes:
        if token_id < 0:
            raise BadInput(f"token id {token_id} is negative: ids run from 0 to {self.vocabulary_size - 1}")
        if token_id >= self.vocabulary_size:
            return b""
        added = self._added.get(token_id)
        if added is not None:
            return added.content.encode()
        token = self._library.id_to_token(token_id)
        return b"" if token is None else self._bytes_of(token)

    def token_id(self, token: str) -> int | None:
        """The id of a token by its own spelling, or None."""
        return self._library.token_to_id(token)

    def is_special(self, token_id: int) -> bool:
        """Whether this is a control token, left out of decoded text."""
        return token_id in self._special

    def byte_pairs(self) -> tuple[list[tuple[int, str]], list[list[str]]]:
        """(id, spelling) of the ordinary tokens by id, and the merges in their order: what ordinary text is cut by."""
        model = json.loads(self._library.to_str())["model"]
        ordinary = sorted((id, text) for text, id in model["vocab"].items() if id not in self._added)
        return ordinary, [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]


def _integers(ids: object) -> list[int]:
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise BadInput(f"ids is {ids!r:.80}: give a list of token ids")
    return [_integer(id) for id in ids]


def _integer(value: object) -> int:
    try:
        if not isinstance(value, bool):
            return index(value)
    except TypeError:
        pass
    raise BadInput(f"ids holds {value!r:.80}: give a list of token ids")


def _decoder(byte_level: bool, drop_space: bool) -> "tokenizers.decoders.Decoder":
    from tokenizers import decoders

    if byte_level:
        return decoders.ByteLevel()
    steps = [decoders.Replace(WORD_START, " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if drop_space else steps)

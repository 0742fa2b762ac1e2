"""A vocabulary of any size that encodes every text: what a checkpoint of random weights needs of a tokenizer.

Byte-level BPE whose tokens are all bytes, then pairs of bytes, then threes; the begin and end tokens take the ids that
the model's configuration gives them.
"""

from collections.abc import Iterable, Iterator
from typing import Any

BEGIN, END = "<|begin|>", "<|end|>"
NORMAL, CONTROL = 1, 3


def byte_characters() -> list[str]:
    """The printable character that stands for each byte, as GPT-2 chose them (openai/gpt-2 src/encoder.py)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]


class SyntheticVocabulary:
    """tokens: `size` different strings. merges: pairs of tokens, in order, that make the others.

    begin, end: token ids; taken from the vocabulary's end when they are None or outside it.
    """

    def __init__(self, size: int, begin: int | None, end: int | None):
        self.end = end if end is not None and 0 <= end < size else size - 1
        self.begin = begin if begin is not None and 0 <= begin < size else max(size - 2, 0)
        words = _words()
        self.tokens: list[str] = []
        self.merges: list[tuple[str, str]] = []
        special = {self.begin: BEGIN, self.end: END}
        for id in range(size):
            word, parts = (special[id], None) if id in special else next(words)
            self.tokens.append(word)
            if parts:
                self.merges.append(parts)

    def gguf_metadata(self) -> dict[str, Any]:
        """`tokenizer.ggml.*` (ggml-org/ggml docs/gguf.md)."""
        fields = {
            "model": "gpt2",
            "pre": "gpt-2",
            "tokens": self.tokens,
            "token_type": [CONTROL if id in (self.begin, self.end) else NORMAL for id in range(len(self.tokens))],
            "merges": [" ".join(pair) for pair in self.merges] or [" ".join(byte_characters()[:2])],
            "bos_token_id": self.begin,
            "eos_token_id": self.end,
            "add_bos_token": False,
        }
        return {f"tokenizer.ggml.{key}": value for key, value in fields.items()}

    def save(self, path: Any) -> None:
        """As a tokenizer.json."""
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

        tokenizer = Tokenizer(models.BPE({token: id for id, token in enumerate(self.tokens)}, self.merges))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([AddedToken(self.tokens[id]) for id in sorted({self.begin, self.end})])
        tokenizer.save(str(path))


def _words() -> Iterator[tuple[str, tuple[str, str] | None]]:
    """Each token with the two it is merged from; bytes have none."""
    bytes_ = byte_characters()
    yield from ((byte, None) for byte in bytes_)
    yield from _joined(bytes_, bytes_)
    pairs = [head + tail for head in bytes_ for tail in bytes_]
    yield from _joined(pairs, bytes_)


def _joined(heads: Iterable[str], tails: Iterable[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    return ((head + tail, (head, tail)) for head in heads for tail in tails)

"""Token ids back to text, one at a time, never half a character."""

import codecs
import re
from collections.abc import Callable
from functools import cache

BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
WORD_START = "▁"


@cache
def byte_letters() -> dict[str, int]:
    """The letter that byte-level vocabularies (GPT-2's `encoder.py`) write for each of the 256 bytes -> that byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(rest)}


def byte_level_bytes(token: str) -> bytes:
    """What a byte-level token stands for; one with any other letter in it (an added token) stands for itself."""
    table = byte_letters()
    if all(letter in table for letter in token):
        return bytes(table[letter] for letter in token)
    return token.encode()


def sentencepiece_bytes(token: str) -> bytes:
    """What a SentencePiece token stands for: `<0x0A>` one byte, `▁` a space."""
    match = BYTE_TOKEN.fullmatch(token)
    return bytes([int(match[1], 16)]) if match else token.replace(WORD_START, " ").encode()


class Detokenizer:
    """One request's text so far; make a new one for each.

    token_bytes: id -> its bytes, b"" for what is not shown.
    drop_space: leave out one space at the very start (SentencePiece puts it before every text).

    The pieces from `push` and the last one from `flush` join to the decoding of all ids. Bytes that can't be UTF-8
    become U+FFFD, one for each maximal broken part (Unicode 15, section 3.9); never more than three bytes wait.
    """

    def __init__(self, token_bytes: Callable[[int], bytes], drop_space: bool = False):
        self._token_bytes = token_bytes
        self._drop_space = drop_space
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """The text that this id completes, often "" in the middle of a character."""
        return self._without_first_space(self._decoder.decode(self._token_bytes(token_id)))

    def flush(self) -> str:
        """What is left when no more ids come: "" or U+FFFD for a character that was cut off."""
        return self._without_first_space(self._decoder.decode(b"", final=True))

    def _without_first_space(self, text: str) -> str:
        if self._drop_space and text:
            self._drop_space = False
            return text.removeprefix(" ")
        return text

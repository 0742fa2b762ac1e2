"""One page of the cache as a file: what it holds, and proof that it is whole and where it belongs.

Layout: MAGIC, SHA-256 of all that follows, key of the page before (KEY_BYTES), number of tokens (uint32), PAGE token
ids (uint32, zeros behind the last), the page's bytes as the cache holds them. Integers are little-endian.

A page's key is BLAKE2b of the key before and its tokens, so it stands for all tokens up to its end; the key before the
first page stands for the model, its formats, the kernels and the adapter. A page under a wrong name is therefore found
out too.
"""

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path

from divebell.engine.cache import PAGE

MAGIC = b"DBKVPG01"
KEY_BYTES = 16
_HEAD = struct.Struct(f"<{KEY_BYTES}sI{PAGE}I")
_SHA = 32
HEADER = len(MAGIC) + _SHA + _HEAD.size


class Damaged(Exception):
    """A file that is not the page that its name says."""


def key_of(before: bytes, tokens: Sequence[int]) -> bytes:
    return hashlib.blake2b(before + struct.pack(f"<{len(tokens)}I", *tokens), digest_size=KEY_BYTES).digest()


def key_with(root: bytes, adapter: bytes) -> bytes:
    """The key before the first page where an adapter computes. root: without it; adapter: the adapter's own key."""
    return hashlib.blake2b(root + adapter, digest_size=KEY_BYTES, person=b"adapter").digest()


def name_of(before: bytes, key: bytes) -> str:
    """Pages that follow the same page have names that begin alike."""
    return f"{before.hex()}-{key.hex()}.page"


def pack(before: bytes, tokens: Sequence[int], page: bytes) -> list[bytes]:
    """The parts of the file, in order."""
    head = _HEAD.pack(before, len(tokens), *tokens, *[0] * (PAGE - len(tokens)))
    return [MAGIC, _sha(head, page), head, page]


def unpack(data: memoryview, before: bytes, key: bytes, page_bytes: int) -> tuple[tuple[int, ...], memoryview]:
    """Tokens and the page's bytes. Raises Damaged."""
    if len(data) != HEADER + page_bytes:
        raise Damaged(f"has {len(data)} bytes instead of {HEADER + page_bytes}")
    head, page = data[HEADER - _HEAD.size : HEADER], data[HEADER:]
    if data[: len(MAGIC)] != MAGIC or data[len(MAGIC) : len(MAGIC) + _SHA] != _sha(head, page):
        raise Damaged("its checksum is wrong")
    its_before, tokens = _head(head)
    if its_before != before or key_of(before, tokens) != key:
        raise Damaged("it holds another page than its name says")
    return tokens, page


def tokens_in(path: Path) -> tuple[int, ...]:
    """What the header says, unverified; nothing where there is none."""
    with path.open("rb") as file:
        data = file.read(HEADER)
    return _head(data[-_HEAD.size :])[1] if len(data) == HEADER else ()


def _head(data: "bytes | memoryview") -> tuple[bytes, tuple[int, ...]]:
    before, count, *tokens = _HEAD.unpack(data)
    return before, tuple(tokens[:count])


def _sha(head: "bytes | memoryview", page: "bytes | memoryview") -> bytes:
    digest = hashlib.sha256(head)
    digest.update(page)
    return digest.digest()

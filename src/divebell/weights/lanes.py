"""GGUF's formats in the order in which AVX2 multiplies them: nothing has to be moved after a vector of them is loaded.

Each chunk of 256 numbers of a row, or of those that are left at its end, has the same bits in other places, so that a
matrix takes as much memory as it does in its file. A lane of 4 bytes belongs to one of the chunk's groups of 32.
"""

import numpy as np

from divebell.weights import decoding
from divebell.weights.formats import Q4_0, Q4_1, Q4_K, Q6_K, Format


def q4_0(chunks: np.ndarray) -> np.ndarray:
    """(n, 18 G) -> (n, 32 G): the G groups' scales, then their nibbles."""
    return decoding.q4_0(_blocks(chunks, 1)).reshape(len(chunks), -1)


def q4_1(chunks: np.ndarray) -> np.ndarray:
    """(n, 20 G) -> (n, 32 G): the G groups' scales, their minima, their nibbles."""
    return decoding.q4_1(_blocks(chunks, 2)).reshape(len(chunks), -1)


def q4_k(chunks: np.ndarray) -> np.ndarray:
    """(n, 144) -> (n, 256): d, dmin and 12 bytes of scales as they were, then nibbles."""
    quants = _quants(chunks[:, 16:]).reshape(len(chunks), 4, 2, 32)
    packed = quants[:, :, 0] | quants[:, :, 1] << 4
    return decoding.q4_k(np.concatenate([chunks[:, :16], packed.reshape(len(chunks), 128)], axis=1))


def q6_k(chunks: np.ndarray) -> np.ndarray:
    """(n, 210) -> (n, 256): nibbles, pairs, scales (the groups' first halves', then the second ones'), d."""
    words = chunks[:, 128:192].reshape(len(chunks), 2, 8, 1, 4) >> np.arange(0, 8, 2, dtype=np.uint8)[:, None] & 3
    quants = _quants(chunks[:, :128]) | words.transpose(0, 2, 1, 3, 4).reshape(len(chunks), 256) << 4
    low = quants.reshape(len(chunks), 2, 2, 64) & 15
    high = quants.reshape(len(chunks), 2, 4, 32) >> 4 << np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    scales = chunks[:, 192:208].reshape(len(chunks), 2, 8).transpose(0, 2, 1).reshape(len(chunks), 16)
    parts = [(low[:, :, 0] | low[:, :, 1] << 4), np.bitwise_or.reduce(high, axis=2), scales, chunks[:, 208:]]
    return decoding.q6_k(np.concatenate([part.reshape(len(chunks), -1) for part in parts], axis=1))


def _quants(nibbles: np.ndarray) -> np.ndarray:
    """(n, 16 G) -> (n, 32 G). 4 vectors: byte 4 g + i of vector k holds numbers 4 k + i and 16 + 4 k + i of group g."""
    vectors = nibbles.reshape(len(nibbles), 4, -1, 4)
    both = np.stack([vectors & 15, vectors >> 4], axis=1)
    return both.transpose(0, 3, 1, 2, 4).reshape(len(nibbles), -1)


def _blocks(chunks: np.ndarray, halves: int) -> np.ndarray:
    """Blocks of 32 numbers, one after another, as files have them."""
    groups = chunks.shape[1] // (16 + 2 * halves)
    scales = chunks[:, : 2 * halves * groups].reshape(len(chunks), halves, groups, 2).transpose(0, 2, 1, 3)
    words = chunks[:, 2 * halves * groups :].reshape(len(chunks), 4, groups, 4).transpose(0, 2, 1, 3)
    parts = [part.reshape(len(chunks) * groups, -1) for part in (scales, words)]
    return np.concatenate(parts, axis=1)


IN_LANES = {
    stored: Format(f"{stored.name} in lanes", number, stored.block, stored.block_bytes, decoder, by_chunk=True)
    for stored, number, decoder in ((Q4_0, 1003, q4_0), (Q4_1, 1004, q4_1), (Q4_K, 1005, q4_k), (Q6_K, 1006, q6_k))
}

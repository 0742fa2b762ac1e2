"""GGUF's formats in the order in which AVX-512 multiplies them: each 32 rows of a matrix side by side, as a panel.

Of each block of those rows there is first the float16 that is no part of a word of 4 bytes, of all 32 rows, if it has
one; then the block's first word of all 32 rows, its second one, and so on. So a matrix has the same bits, and takes as
much memory as in its file.
"""

from collections.abc import Callable

import numpy as np

from divebell.weights.formats import Q4_0, Q4_1, Q4_K, Q6_K, Q8_0, Format

ROWS = 32


def _decoder(stored: Format, half: int | None) -> Callable[[np.ndarray], np.ndarray]:
    """half: where in a block the float16 stands. Takes (n, 32 * block_bytes), gives (n, 32 * block)."""

    def decode(panels: np.ndarray) -> np.ndarray:
        first = 0 if half is None else 2
        halves = panels[:, : first * ROWS].reshape(len(panels), ROWS, first)
        words = panels[:, first * ROWS :].reshape(len(panels), -1, ROWS, 4).transpose(0, 2, 1, 3)
        parts = [halves, words.reshape(len(panels), ROWS, -1)]
        blocks = np.concatenate(parts if half in (0, None) else parts[::-1], axis=2)
        return stored.decoder(np.ascontiguousarray(blocks.reshape(-1, stored.block_bytes))).reshape(len(panels), -1)

    return decode


IN_PANELS = {
    stored: Format(
        f"{stored.name} in panels", number, stored.block, stored.block_bytes, _decoder(stored, half), rows=ROWS
    )
    for stored, number, half in (
        (Q4_0, 1007, 0),
        (Q4_1, 1008, None),
        (Q8_0, 1009, 0),
        (Q4_K, 1010, None),
        (Q6_K, 1011, 208),
    )
}

"""Stored number formats: their sizes, and how each is read into float32.

Numbers are GGML's (ggml.h, `enum ggml_type`), because GGUF files carry them; F8_E4M3 is ours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

F8_BLOCK = 128  # DeepSeek-V3 README_WEIGHTS: one scale for each 128x128 block


@dataclass(frozen=True, slots=True)
class Format:
    """`block` numbers take `block_bytes` bytes."""

    name: str
    number: int
    block: int
    block_bytes: int

    def nbytes(self, shape: tuple[int, ...]) -> int:
        return prod(shape) // self.block * self.block_bytes

    @property
    def bits(self) -> float:
        return 8 * self.block_bytes / self.block

    def decode(self, data: np.ndarray) -> np.ndarray:
        """uint8 (n * block_bytes,) -> float32 (n * block,)."""
        raise NotImplementedError


_DECODERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {}

F32 = Format("F32", 0, 1, 4)
F16 = Format("F16", 1, 1, 2)
BF16 = Format("BF16", 30, 1, 2)
F8_E4M3 = Format("F8_E4M3", 1000, 1, 1)
Q4_0 = Format("Q4_0", 2, 32, 18)
Q4_1 = Format("Q4_1", 3, 32, 20)
Q5_0 = Format("Q5_0", 6, 32, 22)
Q5_1 = Format("Q5_1", 7, 32, 24)
Q8_0 = Format("Q8_0", 8, 32, 34)
Q2_K = Format("Q2_K", 10, 256, 84)
Q3_K = Format("Q3_K", 11, 256, 110)
Q4_K = Format("Q4_K", 12, 256, 144)
Q5_K = Format("Q5_K", 13, 256, 176)
Q6_K = Format("Q6_K", 14, 256, 210)
IQ4_NL = Format("IQ4_NL", 20, 32, 18)
IQ4_XS = Format("IQ4_XS", 23, 256, 136)
MXFP4 = Format("MXFP4", 39, 32, 17)

FORMATS = (F32, F16, BF16, F8_E4M3, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4)
BY_NAME = {f.name: f for f in FORMATS}
BY_NUMBER = {f.number: f for f in FORMATS}

"""Stored number formats: their sizes, and how each is read into float32.

Numbers are GGML's (ggml.h, `enum ggml_type`), because GGUF files carry them; those from 1000 on are ours. So are the
formats D4 and D8: see `decoding.d4`. What is "in lanes" or "in panels" is a format of GGUF in the order in which some
kernels multiply it; it lies in memory only, and no file has it: see `arrangement`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from divebell.weights import decoding

F8_BLOCK = 128  # DeepSeek-V3 README_WEIGHTS: one scale for each 128x128 block
COLUMNS = 256  # of a chunk of D4 or D8
CHUNK = 1 << 16  # numbers decoded at a time, so that intermediates stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Format:
    """`block` numbers take `block_bytes` bytes. `halves`: where in a block its float16 scales lie.

    chunk_bytes: what each 256 numbers of a row, and those left at its end, take besides.
    by_chunk: whether the decoder takes chunks of so many, instead of blocks.
    rows: how many of a matrix's rows lie side by side, block by block; the decoder then takes a block of each of them.
    """

    name: str
    number: int
    block: int
    block_bytes: int
    decoder: Callable[[np.ndarray], np.ndarray]
    halves: tuple[int, ...] = ()
    chunk_bytes: int = 0
    by_chunk: bool = False
    rows: int = 1

    def nbytes(self, shape: tuple[int, ...]) -> int:
        chunks = prod(shape[:-1]) * -(-shape[-1] // COLUMNS) if self.chunk_bytes else 0
        return prod(shape) // self.block * self.block_bytes + chunks * self.chunk_bytes

    def columns_of(self, row_bytes: int) -> int:
        """How many numbers a row of so many bytes holds; 0 if none does."""
        chunks = -(-row_bytes // self.nbytes((COLUMNS,))) if self.chunk_bytes else 0
        columns = (row_bytes - chunks * self.chunk_bytes) // self.block_bytes * self.block
        return columns if columns > 0 and self.nbytes((columns,)) == row_bytes else 0

    @property
    def bits(self) -> float:
        return 8 * (self.block_bytes / self.block + self.chunk_bytes / COLUMNS)

    def decode(self, data: np.ndarray, columns: int = COLUMNS) -> np.ndarray:
        """uint8 (n * block_bytes,) -> float32 (n * block,), bit-equal to ggml's (and, for F8, to ml_dtypes').

        columns: the length of a row, which only those by chunks or with rows side by side need to know.
        """
        if self.rows > 1:
            return self._decode_panels(data, columns)
        if self.by_chunk:
            return self._decode_rows(data.reshape(-1, self.nbytes((columns,))), columns)
        blocks = data.reshape(-1, self.block_bytes)
        out = np.empty((len(blocks), self.block), np.float32)
        step = CHUNK // self.block
        with np.errstate(all="ignore"):  # hostile scales may be infinite or NaN; that is a value, not an event
            for begin in range(0, len(blocks), step):
                out[begin : begin + step] = self.decoder(blocks[begin : begin + step])
        return out.reshape(-1)

    def _decode_panels(self, data: np.ndarray, columns: int) -> np.ndarray:
        panels = data.reshape(-1, columns // self.block, self.rows * self.block_bytes)
        out = np.empty((len(panels), self.rows, columns), np.float32)
        with np.errstate(all="ignore"):
            for panel, numbers in zip(panels, out, strict=True):
                blocks = self.decoder(panel).reshape(-1, self.rows, self.block)
                numbers[:] = blocks.transpose(1, 0, 2).reshape(self.rows, columns)
        return out.reshape(-1)

    def _decode_rows(self, rows: np.ndarray, columns: int) -> np.ndarray:
        out, chunk_bytes = np.empty((len(rows), columns), np.float32), self.nbytes((COLUMNS,))
        with np.errstate(all="ignore"):
            for index, begin in enumerate(range(0, columns, COLUMNS)):
                chunks = rows[:, index * chunk_bytes : (index + 1) * chunk_bytes]
                out[:, begin : begin + COLUMNS] = self.decoder(np.ascontiguousarray(chunks))
        return out.reshape(-1)


F32 = Format("F32", 0, 1, 4, decoding.f32)
F16 = Format("F16", 1, 1, 2, decoding.f16)
BF16 = Format("BF16", 30, 1, 2, decoding.bf16)
F8_E4M3 = Format("F8_E4M3", 1000, 1, 1, decoding.f8_e4m3)
Q4_0 = Format("Q4_0", 2, 32, 18, decoding.q4_0, (0,))
Q4_1 = Format("Q4_1", 3, 32, 20, decoding.q4_1, (0, 2))
Q5_0 = Format("Q5_0", 6, 32, 22, decoding.q5_0, (0,))
Q5_1 = Format("Q5_1", 7, 32, 24, decoding.q5_1, (0, 2))
Q8_0 = Format("Q8_0", 8, 32, 34, decoding.q8_0, (0,))
Q2_K = Format("Q2_K", 10, 256, 84, decoding.q2_k, (80, 82))
Q3_K = Format("Q3_K", 11, 256, 110, decoding.q3_k, (108,))
Q4_K = Format("Q4_K", 12, 256, 144, decoding.q4_k, (0, 2))
Q5_K = Format("Q5_K", 13, 256, 176, decoding.q5_k, (0, 2))
Q6_K = Format("Q6_K", 14, 256, 210, decoding.q6_k, (208,))
IQ4_NL = Format("IQ4_NL", 20, 32, 18, decoding.iq4_nl, (0,))
IQ4_XS = Format("IQ4_XS", 23, 256, 136, decoding.iq4_xs, (0,))
MXFP4 = Format("MXFP4", 39, 32, 17, decoding.mxfp4)
D4 = Format("D4", 1001, 32, 17, decoding.d4, chunk_bytes=2, by_chunk=True)
D8 = Format("D8", 1002, 32, 33, decoding.d8, chunk_bytes=2, by_chunk=True)

FORMATS = (F32, F16, BF16, F8_E4M3, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4)
OWN = (D4, D8)
BY_NAME = {f.name: f for f in (*FORMATS, *OWN)}
BY_NUMBER = {f.number: f for f in (*FORMATS, *OWN)}

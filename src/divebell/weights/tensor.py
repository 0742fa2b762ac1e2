"""A named matrix in its stored blocks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from divebell.weights.formats import F8_BLOCK, Format


@dataclass(frozen=True, slots=True)
class Tensor:
    """Numbers as they lie in the file; `data` is usually a view of a memory map and nothing is copied.

    shape: logical, row-major (GGUF's dimensions reversed); blocks run along the last axis.
    data: uint8, 1-d, contiguous, exactly `nbytes` long.
    scales: for F8_E4M3 with blocks, float32 (ceil(rows / 128), ceil(cols / 128)), multiplied in; else None.
    first_row: where this matrix starts within the rows that `scales` covers.
    """

    name: str
    format: Format
    shape: tuple[int, ...]
    data: np.ndarray
    scales: np.ndarray | None = None
    first_row: int = 0

    @property
    def nbytes(self) -> int:
        return self.format.nbytes(self.shape)

    @property
    def count(self) -> int:
        return prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | int) -> "Tensor":
        """Rows of the leading axis, without a copy: `stack[3]` is one expert, `kv[0:128]` some rows of a matrix."""
        step = self.data.size // self.shape[0] if self.shape[0] else 0
        if isinstance(rows, slice):
            begin, end, _ = rows.indices(self.shape[0])
            shape = (end - begin, *self.shape[1:])
        else:
            begin, end, shape = rows, rows + 1, self.shape[1:]
        inner_rows = prod(self.shape[1:-1])
        first = self.first_row + begin * inner_rows if self.scales is not None else 0
        return replace(self, shape=shape, data=self.data[begin * step : end * step], first_row=first)

    def reshape(self, *shape: int) -> "Tensor":
        """The same rows under another leading shape; the last axis, along which the blocks run, must stay."""
        if shape[-1] != self.shape[-1] or prod(shape) != self.count:
            raise ValueError(f"{self.name}: {self.shape} can't be seen as {shape} without a copy")
        return replace(self, shape=shape)

    def f32(self) -> np.ndarray:
        """A float32 copy of shape `shape`, bit-equal to the format's definition."""
        rows = self.format.decode(self.data).reshape(-1, self.shape[-1]) if self.count else np.zeros(0, np.float32)
        if self.scales is not None:
            rows = rows * self._spread_scales(rows.shape)
        return np.ascontiguousarray(rows.reshape(self.shape), np.float32)

    def _spread_scales(self, shape: tuple[int, int]) -> np.ndarray:
        row_block = (np.arange(shape[0]) + self.first_row) // F8_BLOCK
        return self.scales[row_block][:, np.arange(shape[1]) // F8_BLOCK]

    def split(self) -> "Iterator[Tensor]":
        return (self[i] for i in range(len(self)))

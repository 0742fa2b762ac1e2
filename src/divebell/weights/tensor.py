"""A named matrix in its stored blocks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from divebell.weights.formats import F8_BLOCK, Format

_COMPARED = 1 << 20  # bytes at once: the first difference is mostly near


@dataclass(frozen=True, slots=True)
class Tensor:
    """Numbers as they lie in the file; `data` is usually a view of a memory map and nothing is copied.

    shape: logical, row-major (GGUF's dimensions reversed); blocks run along the last axis.
    data: uint8, 1-d, contiguous, exactly `nbytes` long.
    scales: for F8_E4M3 with blocks, float32 (ceil(rows / 128), ceil(cols / 128)), multiplied in; else None.
    first_row: where this matrix starts within the rows that `scales` covers.
    moving: None, or the `_native.Moving` that brings `data` where it belongs as kernels read it: see `arrangement`.
    """

    name: str
    format: Format
    shape: tuple[int, ...]
    data: np.ndarray
    scales: np.ndarray | None = None
    first_row: int = 0
    moving: Any = None

    @property
    def nbytes(self) -> int:
        return self.format.nbytes(self.shape)

    @property
    def count(self) -> int:
        return prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | int) -> "Tensor":
        """Rows of the leading axis, without a copy: `stack[3]` is one expert, `kv[0:128]` some rows of a matrix.

        Raises IndexError outside the axis, ValueError for a step, for a part of a vector that is stored in blocks, or
        of rows that lie side by side.
        """
        chosen = range(self.shape[0])[rows]
        picked = chosen if isinstance(chosen, range) else range(chosen, chosen + 1)
        together = self.format.rows if len(self.shape) == 2 else 1
        apart = picked.step != 1 or picked.start % together or len(picked) % together
        if apart or (len(self.shape) == 1 and self.format.block > 1):
            raise ValueError(f"{self.name}: rows {rows} of {self.format.name} {self.shape} can't be had without a copy")
        row_bytes, inner_rows = self.format.nbytes(self.shape[1:]), prod(self.shape[1:-1])
        begin, shape = picked.start, (len(picked), *self.shape[1:])
        data = self.data[begin * row_bytes : (begin + len(picked)) * row_bytes]
        first = self.first_row + begin * inner_rows if self.scales is not None else 0
        return replace(self, shape=shape if picked is chosen else shape[1:], data=data, first_row=first)

    def reshape(self, *shape: int) -> "Tensor":
        """The same rows under another leading shape; the last axis, along which the blocks run, must stay."""
        if shape[-1] != self.shape[-1] or prod(shape) != self.count:
            raise ValueError(f"{self.name}: {self.shape} can't be seen as {shape} without a copy")
        return replace(self, shape=shape)

    def same(self, other: "Tensor") -> bool:
        """Whether both are stored as the same bytes."""
        if (self.format, self.shape) != (other.format, other.shape) or not np.array_equal(self.scales, other.scales):
            return False
        pieces = range(0, len(self.data), _COMPARED)
        return all(np.array_equal(self.data[i : i + _COMPARED], other.data[i : i + _COMPARED]) for i in pieces)

    def f32(self) -> np.ndarray:
        """A float32 copy of shape `shape`, bit-equal to the format's definition."""
        numbers = self.format.decode(self.data, self.shape[-1] if self.shape else 1)
        if self.scales is not None and self.count:
            self._scale(numbers.reshape(-1, self.shape[-1]))
        return numbers.reshape(self.shape)

    def _scale(self, rows: np.ndarray) -> None:
        """In place, a row of blocks at a time."""
        begin = 0
        while begin < len(rows):
            block, within = divmod(self.first_row + begin, F8_BLOCK)
            end = begin + F8_BLOCK - within
            with np.errstate(all="ignore"):
                rows[begin:end] *= np.repeat(self.scales[block], F8_BLOCK)[: rows.shape[1]]
            begin = end

    def split(self) -> "Iterator[Tensor]":
        return (self[i] for i in range(len(self)))

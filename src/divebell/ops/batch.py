"""What one step computes: some tokens of some sequences, and where each sequence's cache lies."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Batch:
    """T tokens of S sequences, sequence after sequence; prompt chunks and decoding tokens mix freely.

    ids:       int32 (T,)    token ids
    positions: int32 (T,)    position of each token in its own sequence
    starts:    int32 (S + 1,) tokens starts[s]:starts[s+1] belong to sequence s
    lengths:   int32 (S,)    context length of each sequence, the tokens of this step included
    pages:     int32 (S, P)  page table: position p of sequence s lies in page pages[s, p // page], slot p % page
    adapters:  of each sequence, or None where it has none; empty if none has any
    """

    ids: np.ndarray
    positions: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    pages: np.ndarray
    adapters: tuple[object, ...] = ()

    @classmethod
    def of(
        cls,
        ids: "list[list[int] | np.ndarray]",
        past: list[int],
        pages: "list[list[int]]",
        adapters: "tuple[object, ...]" = (),
    ) -> "Batch":
        """ids: the new tokens of each sequence; past: how many tokens of each are cached already."""
        counts = np.array([len(i) for i in ids], np.int32)
        table = np.full((len(ids), max(map(len, pages))), -1, np.int32)
        for row, own in zip(table, pages, strict=True):
            row[: len(own)] = own
        return cls(
            ids=np.concatenate([np.asarray(i, np.int32) for i in ids]),
            positions=np.concatenate([np.arange(p, p + n, dtype=np.int32) for p, n in zip(past, counts, strict=True)]),
            starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            lengths=np.asarray(past, np.int32) + counts,
            pages=table,
            adapters=tuple(adapters) if any(adapters) else (),
        )

    def part(self, sequences: list[int]) -> "tuple[Batch, np.ndarray]":
        """Some of the sequences, and which tokens of this batch are theirs."""
        counts = np.diff(self.starts)[sequences]
        rows = np.concatenate([np.arange(self.starts[s], self.starts[s + 1]) for s in sequences])
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        own = self.ids[rows], self.positions[rows], starts, self.lengths[sequences], self.pages[sequences]
        return Batch(*own), rows

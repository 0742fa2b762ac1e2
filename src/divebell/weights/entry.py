"""What a file's header says of a tensor, before there is any data."""

from dataclasses import dataclass
from math import prod

from divebell.weights.formats import Format


@dataclass(frozen=True, slots=True)
class Entry:
    """name: as stored. shape: logical, row-major; blocks run along the last axis."""

    name: str
    shape: tuple[int, ...]
    format: Format

    @property
    def count(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.format.nbytes(self.shape)

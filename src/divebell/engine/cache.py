"""The paged cache: keys, values or latents of every sequence, in pages that any sequence can take.

One page number stands for the same page in every layer and component, so a sequence needs one list of numbers. What a
page holds is between a model and its ops: here pages are only handed out and copied, whole. The arrays are reserved as
address space once, for the whole budget; memory is taken when a page is first written, and freed pages are handed out
again last in, first out, so that few requests touch little memory.
"""

import mmap
import sys
from collections.abc import Sequence
from contextlib import suppress
from math import ceil, prod

import numpy as np

PAGE = 64  # tokens of a page
LARGE = 32 << 10  # bytes of one from which arrays lie in pages of 2 MB: below, few tokens would take much memory


def pages_for(tokens: int) -> int:
    return ceil(tokens / PAGE)


class Cache:
    """Arrays and free list.

    layers: for each layer, component name -> array (num_pages, PAGE, width) of `dtype`.
    """

    def __init__(self, layout: Sequence[dict[str, int]], dtype: np.dtype, num_pages: int):
        self.num_pages = num_pages
        self.layers = [
            {name: _reserve((num_pages, PAGE, width), dtype) for name, width in layer.items()} for layer in layout
        ]
        self._free = list(range(num_pages - 1, -1, -1))
        self._lent: list[int] = []

    @property
    def free_pages(self) -> int:
        return len(self._free)

    def take(self, count: int) -> list[int]:
        """Pages for one sequence; the caller has made sure that so many are free."""
        if count > len(self._free):
            raise RuntimeError(f"{count} pages wanted, {len(self._free)} free: nobody made room for them")
        return [self._free.pop() for _ in range(count)]

    @property
    def lent_pages(self) -> int:
        return len(self._lent)

    def lend(self, count: int) -> list[int]:
        """Pages whose room something else takes: free ones that are the last in line, so most likely never written."""
        if count > len(self._free):
            raise RuntimeError(f"{count} pages are to be lent, {len(self._free)} are free: nobody made room for them")
        pages, self._free = self._free[:count], self._free[count:]
        self._lent += pages
        return pages

    def take_back(self, pages: list[int]) -> None:
        """What `lend` gave."""
        self._lent = [page for page in self._lent if page not in pages]
        self._free[:0] = pages

    def copy(self, source: int, target: int) -> None:
        """All of one page to another."""
        for layer in self.layers:
            for pages in layer.values():
                pages[target] = pages[source]

    @property
    def page_bytes(self) -> int:
        return sum(pages[0].nbytes for layer in self.layers for pages in layer.values())

    def read(self, page: int) -> bytes:
        """All of a page, layer by layer."""
        return b"".join(pages[page].tobytes() for layer in self.layers for pages in layer.values())

    def write(self, page: int, data: memoryview) -> None:
        """What `read` gave, back into a page."""
        for layer in self.layers:
            for pages in layer.values():
                own, data = data[: pages[page].nbytes], data[pages[page].nbytes :]
                pages[page] = np.frombuffer(own, pages.dtype).reshape(pages.shape[1:])

    def give_back(self, pages: list[int]) -> None:
        """Empties `pages`, so that nothing can be given back twice."""
        self._free.extend(reversed(pages))
        pages.clear()

    def check_integrity(self, owned: Sequence[list[int]]) -> None:
        """Every page is free, lent or owned by exactly one of the lists in `owned`."""
        pages = [*self._free, *self._lent, *(page for own in owned for page in own)]
        if sorted(pages) != list(range(self.num_pages)):
            raise RuntimeError(
                f"{self.num_pages} pages, but {len(self._free)} free and {len(pages)} free, lent or owned"
            )


def _reserve(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Address space without memory behind it; a huge reservation must not be refused before anything is written."""
    dtype = np.dtype(dtype)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _no_reserve()
    memory = mmap.mmap(-1, max(prod(shape) * dtype.itemsize, 1), flags=flags)
    if prod(shape[1:]) * dtype.itemsize >= LARGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without large pages
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype, prod(shape)).reshape(shape)


def _no_reserve() -> int:
    return 0x4000 if sys.platform == "linux" else 0  # MAP_NORESERVE, which Python's mmap does not name

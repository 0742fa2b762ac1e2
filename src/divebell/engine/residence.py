"""Weights brought into memory before they are needed, and into large pages where the machine has them.

A decoded token reads pieces of a file from all over it. With pages of 4 KB nearly every one of them misses the TLB,
which costs a sixth of the speed. Pages of 2 MB come by themselves when a file is read through a mapping that asks for
them; a file that some other program has read or written before lies in the page cache in small ones, and is copied.
Where the kernels multiply another order of the same bits faster than the file's, matrices are copied in that order,
each piece when it is read a second time: a model answers at once, and experts that nobody asks for stay as they are.
On machines with several nodes of memory all of it is spread over them while it is read; then the rows of each matrix
that a node's threads multiply first are brought there.
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from divebell.config import available_memory
from divebell.errors import Unsupported
from divebell.weights.tensor import Tensor

_POPULATE_READ = 22  # madvise(2), Linux 5.14; Python's mmap has no name for it, and elsewhere it means nothing
_STRETCH = 256 << 20  # between two of which Ctrl-C is heard
_LARGE = 2 << 20
_LINE = 64
_ENOUGH = 0.75
_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def bring_in(checkpoint: Any) -> "Rearranged | None":
    """Reads an open checkpoint's files ahead; what can't be had in large pages, or at all, stays as it is.

    Returns what `models.load` should do to the tensors that are multiplied, if anything.
    """
    files = [*_files(checkpoint)]
    for file in files:
        _populate(file.base.obj)
    if _mostly_faster(checkpoint) and _faster_bytes(checkpoint) < available_memory():
        with suppress(OSError):  # a system that promises no more memory than it has
            arranged = Rearranged(_faster_bytes(checkpoint))
            for file in files:
                _let_go(file.base.obj)
            return arranged
    for file in files:
        if file.nbytes >= _LARGE and _granted() and _large_share(file) < _ENOUGH and file.nbytes < available_memory():
            _exchange(file)
    for tensor in _tensors(checkpoint):
        _place(tensor)


class Rearranged:
    """Called with a tensor: a copy of it in the order that the kernels multiply fastest, in memory that is set aside
    for all of them, while the file's own is given back; of a tensor that has no such order, itself. A piece is copied
    when it is read a second time, or by `settle`. size: bytes of all of them, each in whole lines."""

    def __init__(self, size: int):
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with suppress(OSError):  # a kernel without large pages
                memory.madvise(mmap.MADV_HUGEPAGE)
        self._left = np.frombuffer(memory, np.uint8)
        self._moving: list[Any] = []

    def __call__(self, tensor: Tensor) -> Tensor:
        from divebell import _native
        from divebell.weights.arrangement import arranged, faster

        if (order := faster(tensor)) is None:
            _place(tensor)
            return tensor
        moved = arranged(tensor, order, self._left[: tensor.nbytes], _is_mapped(tensor.data))
        self._left = self._left[_in_lines(tensor.nbytes) :]
        self._moving.append(moved.moving)
        if _native.nodes() > 1:  # only what is there can be placed
            moved.moving.settle()
        _place(moved)
        return moved

    def settle(self) -> None:
        """Moves what has not been read yet: before something is timed."""
        for moving in self._moving:
            moving.settle()


def _in_lines(size: int) -> int:
    """In whole lines of the processor's cache."""
    return -(-size // _LINE) * _LINE


def _faster_bytes(checkpoint: Any) -> int:
    from divebell.weights.arrangement import faster

    return sum(_in_lines(tensor.nbytes) for tensor in _tensors(checkpoint) if faster(tensor))


def _mostly_faster(checkpoint: Any) -> bool:
    """Whether most of the weights have an order that this machine multiplies faster than the file's."""
    return 2 * _faster_bytes(checkpoint) > sum(tensor.nbytes for tensor in _tensors(checkpoint))


def _files(checkpoint: Any) -> Iterator[np.ndarray]:
    """Each mapped file once, whole, as bytes."""
    found = {id(file): file for file in (_whole(tensor.data) for tensor in _tensors(checkpoint))}
    yield from (file for file in found.values() if _is_mapped(file))


def _tensors(checkpoint: Any) -> Iterator[Tensor]:
    for name in checkpoint.tensors:
        with suppress(Unsupported):  # integers, which no model reads
            yield checkpoint.tensors[name]


def _is_mapped(view: np.ndarray) -> bool:
    return isinstance(getattr(_whole(view).base, "obj", None), mmap.mmap)


def _whole(view: np.ndarray) -> np.ndarray:
    while isinstance(view.base, np.ndarray):
        view = view.base
    return view


def _populate(file: mmap.mmap) -> None:
    with _spread(), suppress(OSError):  # an older kernel, another system: pages then come when they are looked at
        for begin in range(0, len(file), _STRETCH):
            file.madvise(_POPULATE_READ, begin, min(_STRETCH, len(file) - begin))


def _let_go(file: mmap.mmap) -> None:
    """What was read stays in the page cache, and comes from there: the process would seem to hold it twice."""
    if hasattr(mmap, "MADV_DONTNEED"):
        file.madvise(mmap.MADV_DONTNEED)


@contextmanager
def _spread() -> Iterator[None]:
    """What this thread brings into memory meanwhile lies on all nodes in turn."""
    from divebell import _native

    spread = _native.spread_over_nodes(True)
    try:
        yield
    finally:
        if spread:
            _native.spread_over_nodes(False)


def _place(tensor: Tensor) -> None:
    """Each node's rows of a matrix, or of all in a stack, onto that node."""
    from divebell import _native

    if _native.nodes() > 1 and len(tensor.shape) > 1:
        for matrix in tensor.split() if len(tensor.shape) > 2 else [tensor]:
            _native.place_on_nodes(matrix.data)


def _granted(setting: Path = _SETTING) -> bool:
    try:
        return "[never]" not in setting.read_text()
    except OSError:
        return False


def _large_share(file: np.ndarray, smaps: Path = Path("/proc/self/smaps")) -> float:
    """How much of the mapping lies in large pages; 1 where the system does not say."""
    begin, end = file.ctypes.data, file.ctypes.data + file.nbytes
    large = 0
    try:
        with smaps.open() as lines:
            within = False
            for line in lines:
                head = line.split(maxsplit=1)[0]
                if "-" in head:
                    first, last = (int(address, 16) for address in head.split("-"))
                    within = first < end and last > begin
                elif within and head in ("FilePmdMapped:", "AnonHugePages:"):
                    large += int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return 1.0
    return large / file.nbytes


def _exchange(file: np.ndarray) -> None:
    from divebell import _native

    _native.large_pages(file)

"""Weights brought into memory before they are needed, and into large pages where the machine has them.

A decoded token reads pieces of a file from all over it. With pages of 4 KB nearly every one of them misses the TLB,
which costs a sixth of the speed. Pages of 2 MB come by themselves when a file is read through a mapping that asks for
them; a file that some other program has read or written before lies in the page cache in small ones, and is copied.
"""

import mmap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from divebell.config import available_memory
from divebell.errors import Unsupported

_POPULATE_READ = 22  # madvise(2), Linux 5.14; Python's mmap has no name for it, and elsewhere it means nothing
_STRETCH = 256 << 20  # between two of which Ctrl-C is heard
_LARGE = 2 << 20
_ENOUGH = 0.75
_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def bring_in(checkpoint: Any) -> None:
    """Reads the open checkpoint's files ahead; what can't be had in large pages, or at all, stays as it is."""
    for file in _files(checkpoint):
        _populate(file.base.obj)
        if file.nbytes >= _LARGE and _granted() and _large_share(file) < _ENOUGH and file.nbytes < available_memory():
            _exchange(file)


def _files(checkpoint: Any) -> Iterator[np.ndarray]:
    """Each mapped file once, whole, as bytes."""
    found = {}
    for name in checkpoint.tensors:
        with suppress(Unsupported):  # integers, which no model reads
            file = _whole(checkpoint.tensors[name].data)
            if isinstance(getattr(file.base, "obj", None), mmap.mmap):
                found[id(file)] = file
    yield from found.values()


def _whole(view: np.ndarray) -> np.ndarray:
    while isinstance(view.base, np.ndarray):
        view = view.base
    return view


def _populate(file: mmap.mmap) -> None:
    with suppress(OSError):  # an older kernel, another system: pages then come when they are looked at
        for begin in range(0, len(file), _STRETCH):
            file.madvise(_POPULATE_READ, begin, min(_STRETCH, len(file) - begin))


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

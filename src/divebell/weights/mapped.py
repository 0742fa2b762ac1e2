"""A file as read-only bytes in memory, of which the system reads only what is looked at."""

import mmap
import os
import reprlib
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from divebell.errors import BadFile


def map_file(path: Path) -> mmap.mmap:
    """The whole file, read-only. The mapping lives as long as any view of it. BadFile, also for an empty file."""
    try:
        return _map(path)
    except (OSError, ValueError) as problem:  # ValueError: an embedded NUL in the path
        raise BadFile(path, "file", f"can't be read: {getattr(problem, 'strerror', None) or problem}") from None


def _map(path: Path) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer must not hang us
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BadFile(path, "file", "is not a regular file")
        if status.st_size == 0:
            raise BadFile(path, "file", "is empty (not downloaded?)")
        return _in_large_pages(mmap.mmap(descriptor, status.st_size, access=mmap.ACCESS_READ))
    finally:
        os.close(descriptor)


def _in_large_pages(mapping: mmap.mmap) -> mmap.mmap:
    """What is not in memory yet is then read in pages of 2 MB, if the file system can (ext4 since Linux 6.16, XFS)."""
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without large pages
            mapping.madvise(mmap.MADV_HUGEPAGE)
    return mapping


def let_go(path: Path) -> None:
    """Writes a new file to disk and frees its memory, so that it comes back in large pages when it is mapped."""
    if not hasattr(os, "posix_fadvise"):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """Where to write a file that appears at `path` when it is complete, and not at all if that fails."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        let_go(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def brief(value: object, most: int = 80) -> str:
    """`repr` cut short and on one line, for messages about values that a file chose."""
    if isinstance(value, str):
        return repr(_cut(value, most))
    return _cut(" ".join(reprlib.repr(value).split()), most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"

"""A file as read-only bytes in memory, of which the system reads only what is looked at."""

import mmap
import os
import reprlib
import stat
from pathlib import Path

from divebell.errors import BadFile


def map_file(path: Path) -> "mmap.mmap | bytes":
    """The whole file, read-only. The mapping lives as long as any view of it. Raises BadFile."""
    try:
        return _map(path)
    except (OSError, ValueError) as problem:  # ValueError: an embedded NUL in the path
        raise BadFile(path, "file", f"can't be read: {getattr(problem, 'strerror', None) or problem}") from None


def _map(path: Path) -> "mmap.mmap | bytes":
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer must not hang us
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BadFile(path, "file", "is not a regular file")
        return mmap.mmap(descriptor, status.st_size, access=mmap.ACCESS_READ) if status.st_size else b""
    finally:
        os.close(descriptor)


def brief(value: object, most: int = 80) -> str:
    """`repr` cut short, for messages about values that a file chose."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    return repr(text if len(text) <= most else f"{text[:most]}…")

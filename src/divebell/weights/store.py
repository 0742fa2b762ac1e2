"""Where pulled files live, and the record of what each one was found to be.

Layout: HOME/models/NAME/FILE, with FILE.verified beside it: a JSON object of sha256, size, mtime_ns and source,
written after the SHA-256 was right. While the file is as big and as old as recorded, it need not be read again.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from divebell.weights.catalogue import Entry


def home() -> Path:
    """DIVEBELL_HOME, or else divebell's folder in the person's cache folder (XDG_CACHE_HOME, ~/.cache)."""
    if own := os.environ.get("DIVEBELL_HOME"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "divebell"


def place(entry: Entry) -> Path:
    """Where the entry's file is, or will be."""
    return home() / "models" / entry.name / entry.file


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def recorded(path: Path) -> dict | None:
    """The record of `path` ({"sha256", "size", "mtime_ns", "source"}) if it has one and has not changed since."""
    try:
        record, status = json.loads(beside(path, ".verified").read_text()), path.stat()
    except (OSError, ValueError):
        return None
    unchanged = isinstance(record, dict) and all(isinstance(record.get(key), str) for key in ("sha256", "source"))
    unchanged = unchanged and (record.get("size"), record.get("mtime_ns")) == (status.st_size, status.st_mtime_ns)
    return record if unchanged else None


def record(path: Path, sha256: str, source: str) -> None:
    """Remembers that `path` was read and has this SHA-256."""
    status = path.stat()
    fields = {"sha256": sha256, "size": status.st_size, "mtime_ns": status.st_mtime_ns, "source": source}
    draft = beside(path, ".verified.part")
    draft.write_text(json.dumps(fields))
    draft.replace(beside(path, ".verified"))


def sha256_of(path: Path, advance: Callable[[int], None] = lambda _: None) -> str:
    """The SHA-256 of a file, in hexadecimal; `advance` is told of the bytes read as they are."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Holds the lock that belongs to `path`, which the system frees when its holder dies. `waiting`: told of a wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with beside(path, ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield

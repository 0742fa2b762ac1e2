"""The folder of pages on disk, which several processes may use at once.

Layout: FOLDER/IDENTITY/*.page, and beside them about.json, which says in plain words whose pages these are. A file is
written under another name first, so that it is there whole or not at all.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from divebell.errors import BadInput
from divebell.weights.store import home

MOST_BYTES = 16 << 30
MOST_SHARE = 0.25  # of what is free on the disk, and what the pages take already
_TRIM_TO = 0.9
_ABANDONED = 3600.0  # seconds after which a file that was not finished belongs to nobody
_ABOUT, _DRAFT = "about.json", ".part"
_OWNER = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class File:
    """bytes: its size. used: when it was last written or read, in seconds since 1970."""

    path: Path
    bytes: int
    used: float


@dataclass(frozen=True, slots=True)
class Kept:
    """All pages of one model in one format. identity: what about.json says; empty if it is gone."""

    identity: dict[str, object]
    pages: int
    bytes: int
    used: float


def default_folder() -> Path:
    return home() / "kv"


def files(folder: Path, suffix: str = ".page") -> Iterator[File]:
    """Of all models. What vanishes meanwhile is passed over."""
    for owner in _owners(folder):
        with suppress(OSError), os.scandir(owner) as entries:
            for entry in entries:
                if entry.name.endswith(suffix):
                    with suppress(OSError):
                        status = entry.stat()
                        yield File(Path(entry.path), status.st_size, status.st_mtime)


def _owners(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if _OWNER.fullmatch(path.name) and path.is_dir())
    except OSError:
        return []


def usual_limit(folder: Path) -> int:
    """Bytes that all pages in `folder` may take."""
    used = sum(file.bytes for file in files(folder))
    return int(min(MOST_BYTES, MOST_SHARE * (shutil.disk_usage(folder).free + used)))


def prepare(owner: Path, identity: dict[str, object]) -> None:
    """Makes the folder of one model's pages. Raises BadInput where others could put pages of their own."""
    try:
        owner.parent.parent.mkdir(parents=True, exist_ok=True)
        for folder in (owner.parent, owner):
            folder.mkdir(mode=0o700, exist_ok=True)
        status = owner.stat()
        if status.st_uid == os.getuid() and not status.st_mode & 0o022:
            write(owner / _ABOUT, [json.dumps(identity, indent=1).encode()])
            return
    except OSError as problem:
        raise BadInput(f"kv_dir {owner.parent}: {problem.strerror or problem}; give a folder to write to") from None
    raise BadInput(f"{owner} is another user's or may be written by others; remove it, or give another kv_dir")


def write(path: Path, parts: Iterable[bytes]) -> None:
    """A file that only its owner may read, whole or not at all."""
    draft = path.with_name(f".{path.name}.{token_hex(8)}{_DRAFT}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0) as file:
            for part in parts:
                file.write(part)
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise


def trim(folder: Path, limit: int) -> None:
    """Where there are more than `limit` bytes, deletes what was not used for longest, down to nine tenths of it."""
    for draft in files(folder, _DRAFT):
        if draft.used < time.time() - _ABANDONED:
            draft.path.unlink(missing_ok=True)
    oldest = sorted(files(folder), key=lambda file: file.used)
    total = sum(file.bytes for file in oldest)
    goal = limit * _TRIM_TO if total > limit else total
    for file in oldest:
        if total <= goal:
            break
        file.path.unlink(missing_ok=True)
        total -= file.bytes


def kept(folder: Path) -> list[Kept]:
    """What there is, the last used first."""
    found = {owner: Kept(_identity(owner), 0, 0, 0.0) for owner in _owners(folder)}
    for file in files(folder):
        so_far = found[file.path.parent]
        used = max(so_far.used, file.used)
        found[file.path.parent] = Kept(so_far.identity, so_far.pages + 1, so_far.bytes + file.bytes, used)
    return sorted(found.values(), key=lambda kept: -kept.used)


def _identity(owner: Path) -> dict[str, object]:
    try:
        identity = json.loads((owner / _ABOUT).read_bytes())
    except (OSError, ValueError):
        return {}
    return identity if isinstance(identity, dict) else {}


def clear(folder: Path) -> int:
    """Deletes all pages, and nothing else that may lie there; their bytes."""
    freed = 0
    for file in files(folder):
        file.path.unlink(missing_ok=True)
        freed += file.bytes
    for owner in _owners(folder):
        for rest in [owner / _ABOUT, *owner.glob(f".*{_DRAFT}")]:
            rest.unlink(missing_ok=True)
        with suppress(OSError):
            owner.rmdir()
    return freed

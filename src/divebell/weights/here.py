"""A model that is on this machine already: where it is, and what its place tells of where it came from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from divebell.config import format_bytes
from divebell.errors import BadInput
from divebell.weights import hub
from divebell.weights.catalogue import CATALOGUE, Entry, unknown
from divebell.weights.pull import on_disk, pulled

_OWN = (".verified", ".lock", ".part")


@dataclass(frozen=True, slots=True)
class Found:
    """path: of the folder or file to load. entry: of the catalogue, if it is one of those."""

    path: Path
    entry: Entry | None = None

    @property
    def repository(self) -> str | None:
        """The hub's org/name, for what lies in huggingface_hub's cache."""
        part = next((part for part in self.path.parts if part.startswith("models--")), None)
        return part and part.removeprefix("models--").replace("--", "/", 1)

    @property
    def revision(self) -> str | None:
        """The commit of that repository."""
        parts = self.path.parts
        return parts[parts.index("snapshots") + 1] if self.repository and "snapshots" in parts[:-1] else None


def find_here(model: str | Path) -> Found:
    """A path, a catalogue name or a hub id that was pulled; BadInput says how to get one that is not here."""
    if path := on_disk(model):
        entry = next((entry for entry in CATALOGUE.values() if pulled(entry.name) == path), None)
        return Found(path, entry)
    model = str(model)
    entry = CATALOGUE.get(model.lower())
    if entry is None and not hub.is_hub_id(model):
        raise unknown(model)
    here = pulled(entry.name) if entry else hub.cached(model)
    if here is None:
        size = f" ({format_bytes(entry.size)}, {entry.licence})" if entry else ""
        raise BadInput(f"{model}{size} is not on this machine yet; fetch it with: divebell pull {model}")
    return Found(here, entry)


def files_of(path: Path, weights: Sequence[Path]) -> list[Path]:
    """All files of a folder; the parts of a GGUF, which are the files that hold its weights."""
    return sorted(files_below(path)) if path.is_dir() else list(weights) or [path]


def files_below(root: Path) -> Iterator[Path]:
    """Without what divebell and git keep there for themselves."""
    for path in root.rglob("*"):
        if path.is_file() and not path.name.endswith(_OWN) and ".git" not in path.relative_to(root).parts:
            yield path


def stated_source(found: Found, metadata: dict) -> str | None:
    """The page that a model comes from, as catalogue, place or GGUF metadata tell it."""
    if found.entry:
        return found.entry.origin
    if found.repository:
        return f"https://huggingface.co/{found.repository}"
    stated = metadata.get("general.source.url") or metadata.get("general.repo_url")
    return stated if isinstance(stated, str) else None


def stated_licence(entry: Entry | None, metadata: dict) -> str | None:
    """What catalogue or GGUF metadata say."""
    stated = entry.licence if entry else metadata.get("general.license")
    return stated if isinstance(stated, str) else None

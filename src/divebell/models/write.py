"""A checkpoint written anew from an open one: the same kind of files, with other tensors."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from divebell.errors import BadInput
from divebell.text.save import save_tokenizer
from divebell.text.stored_template import MORE_TEMPLATES
from divebell.weights.entry import Entry
from divebell.weights.rewrite_gguf import rewrite_gguf
from divebell.weights.write_safetensors import write_safetensors

_COPIED = (".json", ".jinja", ".model", ".txt", ".md")


def write_model(checkpoint: Any, out: Path, entries: Sequence[Entry], data: Iterator[np.ndarray], config: dict) -> None:
    """A GGUF for a GGUF, a folder for a folder; it appears at `out` when it is complete.

    data: as `write_gguf` takes it. config: what config.json holds, for a folder; its other small files are copied.
    """
    if checkpoint.kind == "gguf":
        rewrite_gguf(checkpoint.files[0], out, entries, data)
    else:
        write_folder(checkpoint, out, entries, data, config)


def write_folder(
    checkpoint: Any, out: Path, entries: Sequence[Entry], data: Iterator[np.ndarray], config: dict
) -> None:
    """A folder of safetensors, whatever it comes from; a GGUF's tokenizer and chat template are written beside it."""
    draft = out.with_name(out.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
    draft.mkdir()
    try:
        if checkpoint.kind == "gguf":
            save_tokenizer(checkpoint, draft)
        else:
            _copy_small_files(Path(checkpoint.path), draft)
        write_safetensors(draft, entries, data)
        (draft / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        draft.replace(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_new_folder(out: Path, nbytes: int) -> None:
    """What can be refused before any work is done. nbytes: of the tensors, at most. Raises BadInput."""
    if out.exists() or out.suffix == ".gguf":
        raise BadInput(f"out is {out}; give the name of a new folder")
    if not out.parent.is_dir():
        raise BadInput(f"{out.parent} is not a folder; make it first")
    check_room(out, nbytes)


def check_room(out: Path, nbytes: int) -> None:
    """Whether the disk has it, where `out` is or its folder. Raises BadInput."""
    free = shutil.disk_usage(out if out.exists() else out.parent).free
    if nbytes > free:
        raise BadInput(f"{out} may take {nbytes:,} bytes and {free:,} are free there; take another disk")


def _copy_small_files(source: Path, folder: Path) -> None:
    for file in source.iterdir():
        if file.suffix in _COPIED and file.is_file() and not file.name.endswith(".safetensors.index.json"):
            shutil.copyfile(file, folder / file.name)
    if (source / MORE_TEMPLATES).is_dir():
        shutil.copytree(source / MORE_TEMPLATES, folder / MORE_TEMPLATES)

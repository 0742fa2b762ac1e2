"""A checkpoint written anew from an open one: the same kind of files, with other tensors."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

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
        _write_folder(Path(checkpoint.path), out, entries, data, config)


def _write_folder(source: Path, out: Path, entries: Sequence[Entry], data: Iterator[np.ndarray], config: dict) -> None:
    draft = out.with_name(out.name + ".part")
    draft.mkdir()
    try:
        for file in source.iterdir():
            if file.suffix in _COPIED and file.is_file() and not file.name.endswith(".safetensors.index.json"):
                shutil.copyfile(file, draft / file.name)
        write_safetensors(draft, entries, data)
        (draft / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        draft.replace(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)

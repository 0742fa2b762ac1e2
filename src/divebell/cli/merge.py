"""divebell merge."""

from pathlib import Path
from time import perf_counter
from typing import Any


def merge(model: str, adapter: Path, /, *, out: Path, json: bool = False) -> None:
    """Add an adapter into a model's weights: an ordinary checkpoint, which divebell and transformers load.

    Sums are float32. Weights keep the base's format: float32, float16, bfloat16, or FP8 in blocks with new scales. From
    other formats (a GGUF's, D4, D8) they become bfloat16. What the adapter does not change is copied.

    Parameters
    ----------
    model
        what the adapter was trained on: a catalogue name, a folder, a .gguf file, or a hub id
    adapter
        a folder in peft's format
    out
        a new folder
    json
        print a JSON object
    """
    from divebell.cli.output import print_fields, print_json
    from divebell.models.merge import plan
    from divebell.weights.adapter import read_adapter
    from divebell.weights.checkpoint import open_checkpoint
    from divebell.weights.pull import resolve

    begin = perf_counter()
    planned = plan(open_checkpoint(resolve(model)), read_adapter(adapter))
    planned.write(out)
    figures = {
        "path": out,
        "tensors": len(planned.tensors),
        "merged": len(planned.factors),
        "bytes": planned.nbytes,
        "dtypes": _dtypes(planned.entries),
        "sha256": _hashes(out),
        "seconds": round(perf_counter() - begin, 1),
    }
    print_json(figures) if json else print_fields(_lines(figures))


def _dtypes(entries: list[Any]) -> list[str]:
    return sorted({entry.format.name for entry in entries})


def _hashes(folder: Path) -> dict[str, str]:
    """Of the files that hold weights."""
    from divebell.weights.store import sha256_of

    return {file.name: sha256_of(file) for file in sorted(folder.glob("*.safetensors"))}


def _lines(figures: dict[str, Any]) -> list[tuple[str, Any]]:
    hashes = [(f"sha256 of {name}", digest) for name, digest in figures["sha256"].items()]
    shown = figures | {"dtypes": ", ".join(figures["dtypes"])}
    return [*((name, value) for name, value in shown.items() if name != "sha256"), *hashes]

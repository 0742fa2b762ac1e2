"""divebell inspect."""

from collections import Counter
from pathlib import Path

from divebell.cli.output import counted, print_fields, print_json, print_table
from divebell.config import format_bytes
from divebell.weights.here import Found, find_here, stated_licence, stated_source
from divebell.weights.progress import hashed


def inspect(model: str, /, *, hash: bool = False, json: bool = False) -> None:
    """Show what a model is, from its headers alone: no weight is read and nothing is fetched.

    Parameters
    ----------
    model
        a folder, a .gguf file, a config.json (a shape without weights), or the name of a model that was pulled
    hash
        also compute the SHA-256 of each file that has no verified one yet (this reads the files)
    json
        print a JSON object
    """
    found = find_here(model)
    figures = _shape(found.path) if found.path.suffix == ".json" else _checkpoint(found, hash)
    print_json(figures) if json else _show(figures)


def _shape(path: Path) -> dict:
    """Figures of a config.json alone."""
    from divebell import models

    return _model_figures(models.describe_config(path))


def _checkpoint(found: Found, hash: bool) -> dict:
    from divebell import models
    from divebell.weights.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(found.path)
    try:
        formats = Counter()
        for tensor in checkpoint.tensors.values():
            formats[tensor.format.name] += tensor.nbytes
        return {
            **_model_figures(models.describe(checkpoint)),
            "bytes_by_format": dict(formats.most_common()),
            **_text_figures(checkpoint),
            "licence": stated_licence(found.entry, checkpoint.config),
            "source": stated_source(found, checkpoint.config),
            "path": found.path,
            "files": [_file(file, size, hash) for file, size in checkpoint.file_sizes.items()],
        }
    finally:
        checkpoint.close()


def _model_figures(description) -> dict:
    return {
        "architecture": description.architecture,
        "parameters": description.parameters,
        "active_parameters": description.active_parameters,
        "layers": description.layers,
        "vocabulary": description.vocabulary,
        "context": description.max_positions,
        "cache_bytes_per_token": description.cache_bytes("bf16"),
        "bytes_by_kind": description.bytes,
    }


def _text_figures(checkpoint) -> dict:
    from divebell.text.stored_template import stored_templates

    if checkpoint.kind == "gguf":
        kinds = (checkpoint.config.get(f"tokenizer.ggml.{field}") for field in ("model", "pre"))
        tokenizer = "/".join(str(kind) for kind in kinds if kind)
    else:
        names = ("tokenizer.json", "tokenizer.model")
        tokenizer = next((name for name in names if (checkpoint.path / name).exists()), "")
    return {"tokenizer": tokenizer or None, "chat_template": bool(stored_templates(checkpoint))}


def _file(path: Path, size: int, hash: bool) -> dict:
    """sha256: as verified when the file was pulled and unchanged since, or computed when `hash` asks; else null."""
    from divebell.weights.store import recorded

    record = recorded(path)
    sha256 = record["sha256"] if record else None
    if hash and sha256 is None:
        sha256 = hashed(path, size)
    return {"name": path.name, "bytes": size, "sha256": sha256}


def _show(figures: dict) -> None:
    total, active = figures["parameters"], figures["active_parameters"]
    fields = [
        ("architecture", figures["architecture"]),
        ("parameters", f"{total:,} ({counted(total)})"),
        ("active", f"{active:,} ({counted(active)}) for each token"),
        ("layers", figures["layers"]),
        ("vocabulary", figures["vocabulary"]),
        ("context", figures["context"]),
        ("cache", f"{format_bytes(figures['cache_bytes_per_token'])} for each token"),
    ]
    if "files" not in figures:
        print_fields(fields)
        return
    print_fields(fields + _text_fields(figures))
    _show_files(figures)


def _text_fields(figures: dict) -> list[tuple[str, object]]:
    return [
        ("tokenizer", figures["tokenizer"] or "none in the files"),
        ("chat format", "template in the files" if figures["chat_template"] else "no template in the files"),
        ("licence", figures["licence"] or "not stated in the files"),
        ("source", figures["source"] or "not stated in the files"),
        ("path", figures["path"]),
    ]


def _show_files(figures: dict) -> None:
    for title in ("kind", "format"):
        parts = figures[f"bytes_by_{title}"]
        rows = [(name, format_bytes(count), f"{count / sum(parts.values()):.1%}") for name, count in parts.items()]
        print_table((title, "size", "share"), rows)
    rows = [(file["name"], format_bytes(file["bytes"]), file["sha256"] or "(--hash)") for file in figures["files"]]
    print_table(("file", "size", "SHA-256"), rows, fold=False)

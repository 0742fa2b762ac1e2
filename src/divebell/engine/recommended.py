"""The sampling that suits a model's chats."""

import json
from pathlib import Path

from divebell.engine.sampling import Sampling
from divebell.errors import BadFile, BadInput
from divebell.weights.catalogue import CATALOGUE

FILE = "generation_config.json"
LARGEST = 1 << 20
FIELDS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


def recommended_sampling(name: object, checkpoint: object) -> dict[str, object]:
    """Options for `Sampling`: the catalogue's, or those of a folder's generation_config.json if it says `do_sample`.

    Raises BadFile for a file that is not such an object, or an option out of its range.
    """
    file = checkpoint.path / FILE
    if checkpoint.kind != "gguf" and file.exists():
        return _publishers(file)
    entry = CATALOGUE.get(str(name).lower())
    return dict(entry.sampling) if entry else {}


def _publishers(file: Path) -> dict[str, object]:
    fields = _read(file)
    if not fields.get("do_sample"):
        return {}
    options = {name: fields[name] for name in FIELDS if fields.get(name) is not None}
    try:
        Sampling.of(options)
    except BadInput as problem:
        raise BadFile(file, "sampling", str(problem)) from problem
    return options


def _read(file: Path) -> dict[str, object]:
    try:
        fields = json.loads(file.read_bytes()[:LARGEST])
    except (ValueError, RecursionError) as problem:
        raise BadFile(file, "JSON", str(problem)) from problem
    if not isinstance(fields, dict):
        raise BadFile(file, "JSON", f"is a {type(fields).__name__}, not an object")
    return fields

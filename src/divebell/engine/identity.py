"""What the numbers in a cache depend on besides the tokens: the model's files, the formats, the kernels."""

import hashlib
import json
from pathlib import Path

import divebell
from divebell.engine.cache import PAGE, Cache
from divebell.weights.checkpoint import Checkpoint
from divebell.weights.store import recorded

_SAMPLES, _SAMPLE = 64, 1 << 16


def identity(checkpoint: Checkpoint, weights: str, cache: Cache) -> dict[str, object]:
    """Plain data; equal for two loaded models exactly if each may use the other's pages."""
    from divebell import _native

    layers = [[name, str(pages.dtype), pages.shape[1:]] for layer in cache.layers for name, pages in layer.items()]
    return {
        "model": checkpoint.path.name,
        "weights": weights,
        "page": PAGE,
        "cache": _digest(json.dumps(layers).encode()),
        "config": _digest(_config(checkpoint)),
        "files": [file_identity(file) for file in checkpoint.files],
        "version": divebell.__version__,
        "isa": _native.isa,
        "kernels": kernels(),
    }


def kernels() -> str:
    """The SHA-256 of the compiled kernels."""
    from divebell import _native

    return _digest(Path(_native.__file__).read_bytes())


def file_identity(path: Path) -> str:
    """The SHA-256 where it is on record; else of size, time of change, and samples from all over the file."""
    if record := recorded(path):
        return record["sha256"]
    status = path.stat()
    digest = hashlib.sha256(f"{status.st_size} {status.st_mtime_ns}".encode())
    with path.open("rb") as file:
        for index in range(_SAMPLES):
            file.seek(max(status.st_size - _SAMPLE, 0) * index // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def _config(checkpoint: Checkpoint) -> bytes:
    """A GGUF's is in its file."""
    return (checkpoint.path / "config.json").read_bytes() if checkpoint.kind == "safetensors" else b""


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

"""A checkpoint in D4 or D8: which of its tensors get fewer bits, and the files that come of it."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from divebell.errors import BadInput, Unsupported
from divebell.models import architecture, configuration
from divebell.models.write import write_model
from divebell.weights.entry import Entry
from divebell.weights.formats import D4, D8, F32, Format
from divebell.weights.quantize import encoded
from divebell.weights.tensor import Tensor

FORMATS = {"q4": D4, "q8": D8}
_FLOATS = ("norm", "bias", "router")
_ENDS = ("embedding", "head")  # D8 always: see docs/log.md

Importance = Callable[[str, int | None], np.ndarray | None]
"""A stored tensor's name, and parts if it is a stack -> float32 (columns,) or (parts, columns); None: all the same."""


@dataclass(frozen=True, slots=True)
class Plan:
    """entries: what will be written, in the source's order. before, after: bytes of the tensors that are read."""

    checkpoint: Any
    entries: list[Entry]
    before: int

    @property
    def after(self) -> int:
        return sum(entry.nbytes for entry in self.entries)

    @property
    def numbers(self) -> int:
        return sum(entry.count for entry in self.entries)


def plan(checkpoint: Any, format: str) -> Plan:
    """What becomes of each tensor. format: "q4" (D4; embedding and head D8) or "q8" (D8).

    Norms, biases and routers stay as they are, and so do matrices that have no more bits already, or whose rows are no
    multiple of 32. What the model does not read is left out. Raises Unsupported for another format.
    """
    if format not in FORMATS:
        raise Unsupported("format", format, tuple(FORMATS))
    parameters = architecture(checkpoint.architecture, checkpoint.path).parameters(configuration(checkpoint))
    kinds = {name: p.kind for p in parameters for name in p.stored_names(checkpoint.kind)}
    tensors = [checkpoint.tensors[name] for name in checkpoint.tensors if name in kinds]
    entries = [Entry(t.name, t.shape, _format_of(t, kinds[t.name], FORMATS[format])) for t in tensors]
    return Plan(checkpoint, entries, sum(tensor.nbytes for tensor in tensors))


def _format_of(tensor: Tensor, kind: str, main: Format) -> Format:
    wanted = D8 if kind in _ENDS else main
    if kind in _FLOATS or len(tensor.shape) < 2 or tensor.shape[-1] % wanted.block:
        return F32 if tensor.scales is not None else tensor.format
    return tensor.format if tensor.scales is None and tensor.format.bits <= wanted.bits else wanted


def quantize(plan: Plan, out: Path, importance: Importance) -> None:
    """Writes a GGUF for a GGUF, a folder for a folder; it appears at `out` when it is complete.

    Raises BadInput when something is there already, when `out` is named as the other kind, or when the disk has too
    little room; Mismatch for a tensor that can't be quantized.
    """
    check_out(plan, out)
    described = plan.checkpoint.config | {"quantization_config": {"quant_method": "divebell"}}
    write_model(plan.checkpoint, out, plan.entries, _pieces(plan, importance), described)


def check_out(plan: Plan, out: Path) -> None:
    """What `quantize` refuses, before any work is done."""
    gguf = plan.checkpoint.kind == "gguf"
    if out.exists():
        raise BadInput(f"{out} exists; remove it or write somewhere else")
    if gguf != (out.suffix == ".gguf"):
        wanted = "a GGUF file, so the result must be named .gguf too" if gguf else "a folder, and so is the result"
        raise BadInput(f"out is {out}, but {plan.checkpoint.path} is {wanted}")
    if not out.parent.is_dir():
        raise BadInput(f"{out.parent} is not a folder; make it first")
    free = shutil.disk_usage(out.parent).free
    if plan.after > free:
        raise BadInput(f"{out} would take {plan.after:,} bytes and {free:,} are free there; take another disk")


def _pieces(plan: Plan, importance: Importance) -> Iterator[np.ndarray]:
    for entry in plan.entries:
        tensor = plan.checkpoint.tensors[entry.name]
        if entry.format in FORMATS.values() and entry.format is not tensor.format:
            parts = tensor.shape[0] if len(tensor.shape) > 2 else None
            yield from encoded(tensor, entry.format, importance(entry.name, parts))
        else:
            yield tensor.data if entry.format is tensor.format else tensor.f32().reshape(-1).view(np.uint8)

"""From a name or a path to a model that answers."""

from collections.abc import Mapping
from math import ceil
from pathlib import Path

from divebell.engine.budget import Budget, usable_ram, workspace
from divebell.engine.cache import Cache, page_bytes
from divebell.engine.core import Core
from divebell.engine.engine import Engine
from divebell.engine.llm import LLM, Limits, Voice
from divebell.engine.recommended import recommended_sampling
from divebell.errors import BadInput

WEIGHT_BITS: Mapping[str, float | None] = {"stored": None, "f32": 32, "bf16": 16, "q8": 8.5, "q4": 4.5}
MOST_THREADS = 1024


def load(
    name_or_path: "str | Path",
    weights: str = "stored",
    threads: int | None = None,
    ram: "int | str | None" = None,
    context: int | None = None,
) -> LLM:
    """See `divebell.load`."""
    from divebell import models
    from divebell.ops import native
    from divebell.weights.checkpoint import open_checkpoint
    from divebell.weights.pull import resolve

    _check_arguments(name_or_path, weights, threads)
    may_use = usable_ram(ram)
    checkpoint = open_checkpoint(resolve(name_or_path))
    if threads is not None:
        native.set_threads(int(threads))
    description = models.describe(checkpoint)
    model = models.load(checkpoint, native, weights)
    vocabulary = model.config.vocab_size
    page = page_bytes(model.cache_layout, model.cache_dtype)
    budget = Budget(may_use, weight_bytes(checkpoint, weights), page, workspace(vocabulary))
    context, pages = budget.plan(context, model.config.max_positions)
    core = Core(model, Cache(model.cache_layout, model.cache_dtype, pages))
    return LLM(
        Engine(core), Limits(vocabulary, context), Voice(checkpoint), description, recommended_sampling(checkpoint)
    )


def weight_bytes(checkpoint: object, weights: str) -> int:
    """Memory that a checkpoint's weights take in the chosen format; those that are not converted stay in the file."""
    bits = WEIGHT_BITS[weights]
    if bits is None:
        return sum(tensor.nbytes for tensor in checkpoint.tensors.values())
    return sum(ceil(tensor.count * bits / 8) for tensor in checkpoint.tensors.values())


def _check_arguments(name: object, weights: object, threads: object) -> None:
    if not isinstance(name, str | Path) or not str(name):
        raise BadInput(f"model is {name!r}; give a catalogue name, a path, or a hub id")
    if weights not in WEIGHT_BITS:
        raise BadInput(f"weights is {weights!r}; it must be one of {', '.join(WEIGHT_BITS)}")
    integer = isinstance(threads, int) and not isinstance(threads, bool)
    if threads is not None and not (integer and 1 <= threads <= MOST_THREADS):
        raise BadInput(f"threads is {threads!r}; it must be an integer, 1 to {MOST_THREADS}")

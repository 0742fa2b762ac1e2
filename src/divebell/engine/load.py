"""From a name or a path to a model that answers."""

from collections.abc import Mapping
from math import ceil
from pathlib import Path

from divebell.engine.adapters import check_name, pages_of
from divebell.engine.budget import Budget, usable_ram
from divebell.engine.cache import PAGE, Cache, pages_for
from divebell.engine.core import Core
from divebell.engine.engine import Engine
from divebell.engine.garbage import uncollected
from divebell.engine.identity import identity
from divebell.engine.info import info_of
from divebell.engine.llm import LLM
from divebell.engine.prompt import Limits
from divebell.engine.recommended import recommended_sampling
from divebell.engine.residence import bring_in
from divebell.engine.store import Store
from divebell.engine.voice import Voice
from divebell.engine.workspace import TEXT, workspace
from divebell.errors import BadInput
from divebell.weights.adapter import AdapterFile, read_adapter
from divebell.weights.quantize import TARGETS

WEIGHT_BITS: Mapping[str, float | None] = {"stored": None, "f32": 32, "bf16": 16, "q8": 8.34, "q4": 4.34}
MOST_THREADS = 1024


@uncollected()
def load(
    name_or_path: "str | Path",
    weights: str = "stored",
    threads: int | None = None,
    ram: "int | str | None" = None,
    context: int | None = None,
    cache: str | None = None,
    kv_dir: "str | Path | None" = None,
    adapters: "Mapping[str, str | Path] | None" = None,
) -> LLM:
    """See `divebell.load`."""
    from divebell import models
    from divebell.ops import native
    from divebell.weights.checkpoint import open_checkpoint
    from divebell.weights.pull import resolve

    _check_arguments(name_or_path, weights, threads)
    if not isinstance(kv_dir, str | Path | None):
        raise BadInput(f"kv_dir is {kv_dir!r}; it must be a path")
    may_use = usable_ram(ram)
    checkpoint = open_checkpoint(resolve(name_or_path))
    description = models.describe(checkpoint)
    page = PAGE * description.cache_bytes(cache or models.usual_cache(weights))
    files = _adapter_files(adapters)
    lent = sum(pages_of(models.adapter_bytes(checkpoint, file, weights), page) for file in files.values())
    parts = workspace(description, page if kv_dir is not None else 0)
    budget = Budget(may_use, weight_bytes(description, weights), page + PAGE * TEXT, parts, lent * page)
    context, pages = budget.plan(context, description.max_positions)  # before any weight is read
    if threads is not None:
        native.set_threads(int(threads))
    arranged = bring_in(checkpoint) if _stay_as_stored(checkpoint, weights) else None
    model = models.load(checkpoint, native, weights, cache, arranged)
    arrays = Cache(model.cache_layout, model.cache_dtype, pages + lent)
    store = None if kv_dir is None else Store(Path(kv_dir).expanduser(), identity(checkpoint, weights, arrays), arrays)
    engine = Engine(Core(model, arrays, store=store))
    for name, file in files.items():
        engine.add_adapter(name, file, pages_for(context))
    limits = Limits(model.config.vocab_size, context, description.max_positions)
    info = info_of(checkpoint, description, active_bytes(description, weights))
    return LLM(engine, limits, Voice(checkpoint), info, recommended_sampling(name_or_path, checkpoint))


def weight_bytes(description: object, weights: str) -> int:
    """Memory that the weights take in the chosen format; what is not converted is the file's own, mapped."""
    bits = WEIGHT_BITS[weights]
    if bits is None:
        return sum(size for kind, size in description.bytes.items() if kind != "unused")
    return ceil(description.parameters * bits / 8)


def active_bytes(description: object, weights: str) -> int:
    """Of the weights in the chosen format, what is read for each token."""
    bits = WEIGHT_BITS[weights]
    return description.active_bytes if bits is None else ceil(description.active_parameters * bits / 8)


def _stay_as_stored(checkpoint: object, weights: str) -> bool:
    """Whether the file is computed from; else it is read once, and a copy of it would be more than the budget knows."""
    matrices = (tensor for tensor in checkpoint.tensors.values() if len(tensor.shape) > 1)
    return weights == "stored" or all(tensor.format is TARGETS[weights] for tensor in matrices)


def _adapter_files(adapters: "Mapping[str, str | Path] | None") -> dict[str, AdapterFile]:
    if not isinstance(adapters, Mapping | None):
        raise BadInput(f"adapters is {adapters!r}; it must map names to folders")
    for name in adapters or {}:
        check_name(name)
    return {name: read_adapter(path) for name, path in (adapters or {}).items()}


def _check_arguments(name: object, weights: object, threads: object) -> None:
    if not isinstance(name, str | Path) or not str(name):
        raise BadInput(f"model is {name!r}; give a catalogue name, a path, or a hub id")
    if not isinstance(weights, str) or weights not in WEIGHT_BITS:
        raise BadInput(f"weights is {weights!r}; it must be one of {', '.join(WEIGHT_BITS)}")
    integer = isinstance(threads, int) and not isinstance(threads, bool)
    if threads is not None and not (integer and 1 <= threads <= MOST_THREADS):
        raise BadInput(f"threads is {threads!r}; it must be an integer, 1 to {MOST_THREADS}")

"""The six forms at DeepSeek-V2-Lite's shape, timed on this machine: some layers of each at their true width.

A layer of V2-Lite fits even where all of its experts are one block. Every layer is taken as one with experts, where the
released model's first has none. Speeds are rehearsed (`costs.rehearsal`) and remembered.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from divebell.atlas import grouped_moe
from divebell.atlas.variants import ATTENTIONS, Form, Reach, reached
from divebell.costs.hardware import Hardware
from divebell.costs.kv import CacheBytes
from divebell.costs.plan import Speed
from divebell.costs.rehearsed import on_this
from divebell.costs.roofline import demand
from divebell.costs.settings import Settings
from divebell.costs.shape import Shape, chooser, shape_of_parts
from divebell.models import cache_format, deepseek_v2, llama
from divebell.weights.strict_json import read_object

FORMAT, CONTEXTS, BATCHES = "q4_0", (1024, 4096, 16384), (1, 8)
_GROUPS = {"grouped-query": 8, "full": 16}  # of 16 heads
_WIDTH = 128


@dataclass(frozen=True, slots=True)
class Trial:
    """speeds: by context and batch."""

    form: Form
    speeds: dict[tuple[int, int], Speed]


@dataclass(frozen=True, slots=True)
class Factor:
    """How many times the first form's seconds another takes for a token: measured, and by the formula of the floor."""

    form: Form
    context: int
    batch: int
    measured: float
    by_formula: float


def trials(machine: Hardware, own: Settings, told: Callable[[str], None]) -> list[Trial]:
    """told: is called with a form's name before it is timed."""
    points = [("decode", 1, context, batch) for batch in BATCHES for context in CONTEXTS]
    found = []
    for form in forms():
        told(form.name)
        speeds = on_this(form.shape, points, machine, own)
        found.append(Trial(form, {(one.depth, one.batch): one for one in speeds}))
    return found


def factors(trials: list[Trial]) -> list[Factor]:
    first, *others = trials
    return [
        Factor(trial.form, *point, speed.seconds / first.speeds[point].seconds, speed.least / first.speeds[point].least)
        for trial in others
        for point, speed in trial.speeds.items()
    ]


def reaches(machine: Hardware) -> list[Reach]:
    """By formula, at this machine's measured bandwidth and rates, for longer contexts and more sequences."""

    def seconds(form: Form, context: int, batch: int) -> float:
        return demand(form.shape, 1, context, batch).seconds(machine.read, machine.rates) / batch

    return reached(forms(), seconds)


def forms() -> list[Form]:
    """With experts and latents first."""
    values = read_object(Path(__file__).parent / "deepseek-v2-lite.json", "config")
    return [
        Form(sparse, attention, _shape(values, *_parts(values, sparse, attention)))
        for sparse in (True, False)
        for attention in ATTENTIONS
    ]


def _parts(values: dict[str, Any], sparse: bool, attention: str) -> tuple[ModuleType, Any]:
    latent = deepseek_v2.Config.from_hf(values)
    experts = latent.experts
    width = (experts.count + experts.shared) * experts.width
    if attention == ATTENTIONS[0]:
        split = replace(latent, latent=replace(latent.latent, split=True), dense_layers=0)  # as GGUF files hold it
        return deepseek_v2, split if sparse else replace(split, experts=None, width=width)
    shape = {"num_key_value_heads": _GROUPS[attention], "head_dim": _WIDTH, "intermediate_size": width}
    own = values | shape | {"rope_scaling": None}
    return (
        (grouped_moe, grouped_moe.Config.from_hf(own, experts=experts))
        if sparse
        else (llama, llama.Config.from_hf(own))
    )


def _shape(values: dict[str, Any], module: ModuleType, config: Any) -> Shape:
    cache = CacheBytes(cache_format.bytes_per_token("bf16", module.cache_layout(config)))
    choose = chooser(values, FORMAT, config)
    return shape_of_parts(module.__name__, module, config, choose, cache, "deepseek-v2-lite")

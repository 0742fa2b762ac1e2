"""One model in six forms: experts or all of its width for each token, with three kinds of attention.

The model is DeepSeek-V3's shape (deepseek-v3.json, the fields of its config.json that tell it). A form without experts
multiplies every token with all of their weights; grouped-query attention is Llama 3.1's (8 groups of 128); full
attention has keys and values of 128 for every head. Weights are FP8, caches bfloat16, in all forms.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from divebell.costs.hardware import hardware
from divebell.costs.kv import CacheBytes
from divebell.costs.roofline import demand
from divebell.costs.shape import Matrix, Shape, shape_of
from divebell.weights.formats import F8_E4M3
from divebell.weights.strict_json import read_object

FACTOR = 27
CONTEXTS = tuple(2**power for power in range(10, 21))
BATCHES = (1, 8, 32, 128, 512)
ATTENTIONS = ("latent (MLA)", "grouped-query", "full")
_HEADS, _GROUPS, _WIDTH = 128, 8, 128
HARDWARE = "8x-h800"


@dataclass(frozen=True, slots=True)
class Form:
    experts: bool
    attention: str
    shape: Shape

    @property
    def name(self) -> str:
        return f"{'experts' if self.experts else 'dense'}, {self.attention}"

    def dollars(self, context: int, batch: int) -> float:
        """For 10^6 tokens of answers, each with `context` tokens before it, `batch` sequences at a time.

        The least time of a step (bytes over bandwidth, multiply-adds over rates, the larger) at the rent of HARDWARE.
        As if it held any model and cache: one that needs twice the machines gets twice their bandwidth and rates.
        """
        machine = hardware(HARDWARE)
        seconds = demand(self.shape, 1, context, batch).seconds(*machine.reached()) / batch
        return seconds * 1e6 * machine.dollars_per_hour / 3600


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a form costs FACTOR times the model with experts and latents. context: the least, None if nowhere up to the
    longest; greatest: the largest factor, at context `at`."""

    form: Form
    batch: int
    context: int | None
    greatest: float
    at: int


def forms() -> list[Form]:
    """With experts and MLA first, which the others are held against."""
    values = read_object(Path(__file__).parent / "deepseek-v3.json", "config")
    shape = shape_of(values)
    return [
        Form(experts, attention, _attending(_filled(shape, experts), attention))
        for experts in (True, False)
        for attention in ATTENTIONS
    ]


def reaches() -> list[Reach]:
    return reached(forms(), Form.dollars)


def reached(forms: Sequence[Form], cost: Callable[[Form, int, int], float]) -> list[Reach]:
    """cost: of a token of a form's answer, at a context and a batch."""
    first, *others = forms
    return [_reach(first, form, batch, cost) for form in others for batch in BATCHES]


def _reach(first: Form, form: Form, batch: int, cost: Callable[[Form, int, int], float]) -> Reach:
    factors = {context: cost(form, context, batch) / cost(first, context, batch) for context in CONTEXTS}
    at = max(factors, key=factors.get)
    return Reach(form, batch, next((c for c, factor in factors.items() if factor >= FACTOR), None), factors[at], at)


def _filled(shape: Shape, experts: bool) -> Shape:
    """Without experts: each stack as one block as wide as all of them together."""
    if experts:
        return shape
    return replace(shape, matrices=tuple(_whole(matrix) for matrix in shape.matrices))


def _whole(matrix: Matrix) -> Matrix:
    if not matrix.experts:
        return matrix
    return replace(matrix, kind="mlp", count=matrix.count * matrix.experts, experts=0, chosen=0)


def _attending(shape: Shape, attention: str) -> Shape:
    if attention == ATTENTIONS[0]:
        return shape
    groups = _GROUPS if attention == ATTENTIONS[1] else _HEADS
    projections = 2 * shape.hidden * _WIDTH * (_HEADS + groups)  # of queries and outputs, of keys and values
    others = [matrix for matrix in shape.matrices if matrix.kind != "attention"]
    added = [Matrix("attention", projections, F8_E4M3)] * shape.layers
    per_key = _HEADS * 2 * _WIDTH
    cache = CacheBytes(shape.layers * 2 * groups * _WIDTH * 2)
    return replace(shape, matrices=(*others, *added), cache=cache, absorbed=per_key, expanded=per_key)

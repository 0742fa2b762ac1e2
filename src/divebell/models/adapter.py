"""An adapter that is not merged, ready for a model's ops."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from divebell.models.binding import Binding
from divebell.models.changes import Changes, Factors, Place, digest
from divebell.weights.formats import F32
from divebell.weights.quantize import convert
from divebell.weights.tensor import Tensor

UP = ".kv_b"


class Adapter:
    """key: equal for adapters that compute the same; nbytes: what it takes.

    products: place -> handles of A and B, and the scale. ups: handles of merged up-projections by parameter name.
    """

    def __init__(
        self, key: bytes, nbytes: int, products: Mapping[Place, tuple[Any, Any, float]], ups: Mapping[str, Any]
    ):
        self.key, self.nbytes, self.products, self.ups = key, nbytes, products, ups
        self.blocks = {name.rpartition(".")[0] for name, _ in products}


def memory(changes: Changes, conversion: str) -> int:
    """Bytes of an adapter beside weights that are held as `conversion` says (binding.CONVERSIONS)."""
    wide = conversion == "f32"
    ups = sum(len(f.b) * f.a.shape[1] * (4 if wide else 2) for f in _ups(changes).values())
    return ups + sum(
        part.size * (4 if wide else part.itemsize) for f in _others(changes).values() for part in (f.a, f.b)
    )


def prepare(changes: Changes, binding: Binding) -> Adapter:
    """changes: of the binding's model, with rows as its file has them."""

    def handles(factors: Factors) -> tuple[Any, Any, float]:
        a, b = (binding.ops.weight(_tensor(part, binding.conversion)) for part in (factors.a, factors.b))
        return a, b, np.float32(factors.scale)

    products = {place: handles(factors) for place, factors in _others(changes).items()}
    ups = {name: _merged(name, factors, binding) for name, factors in _ups(changes).items()}
    return Adapter(digest(changes), memory(changes, binding.conversion), products, ups)


def _ups(changes: Changes) -> dict[str, Factors]:
    return {name: factors for (name, _), factors in changes.items() if name.endswith(UP)}


def _others(changes: Changes) -> Changes:
    return {place: factors for place, factors in changes.items() if not place[0].endswith(UP)}


def _tensor(values: np.ndarray, conversion: str) -> Tensor:
    """bfloat16 stays so, unless arithmetic is to be float32 throughout."""
    wide = _wide("adapter", values)
    return wide if values.itemsize == 4 or conversion == "f32" else convert(wide, "bf16")


def _merged(name: str, factors: Factors, binding: Binding) -> Any:
    tensor = _wide(name, binding.whole_up_projection(name.removesuffix("kv_b")) + factors.product())
    return binding.ops.up_projections(kv_b=tensor if binding.conversion == "f32" else convert(tensor, "bf16"))


def _wide(name: str, values: np.ndarray) -> Tensor:
    return Tensor(name, F32, values.shape, np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint8))

"""The order in which this machine's kernels multiply a matrix fastest, where that is not the file's."""

from dataclasses import replace
from math import prod

import numpy as np

from divebell import _native
from divebell.weights.formats import Format
from divebell.weights.lanes import IN_LANES
from divebell.weights.panels import IN_PANELS
from divebell.weights.tensor import Tensor

FASTER = {"avx2": IN_LANES, "avx512": IN_PANELS, "amx": IN_PANELS}.get(_native.isa, {})


def faster(tensor: Tensor) -> Format | None:
    """None where the file's order is as good, or the rows of a matrix can't all lie side by side."""
    order = FASTER.get(tensor.format)
    return order if order and len(tensor.shape) > 1 and tensor.shape[-2] % order.rows == 0 else None


def arranged(tensor: Tensor, order: Format, out: np.ndarray, mapped: bool = False) -> Tensor:
    """A matrix or stack in another order, whose rows move when kernels read them again, or by `moving.settle()`.

    out: uint8 (tensor.nbytes,), where it shall lie. mapped: the tensor's data is a mapped file's, whose pages are given
    back as they have been read.
    """
    rows = prod(tensor.shape[:-1])
    stored = _native.Weight(tensor.format.number, tensor.data, rows, tensor.shape[-1])
    return replace(tensor, format=order, data=out, moving=_native.Moving(stored, order.number, out, mapped))

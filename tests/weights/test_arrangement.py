"""Which matrices are put in another order."""

import numpy as np
import pytest

from divebell.weights import arrangement
from divebell.weights.formats import F32, Q4_0
from divebell.weights.lanes import IN_LANES
from divebell.weights.panels import IN_PANELS
from divebell.weights.tensor import Tensor


def tensor(format, *shape):
    return Tensor("w", format, shape, np.zeros(format.nbytes(shape), np.uint8))


def test_lanes_have_any_number_of_rows(monkeypatch):
    monkeypatch.setattr(arrangement, "FASTER", IN_LANES)
    assert arrangement.faster(tensor(Q4_0, 5, 64)) is IN_LANES[Q4_0]
    assert arrangement.faster(tensor(F32, 5, 64)) is None


@pytest.mark.parametrize("shape", [(64, 64), (3, 32, 64)], ids=str)
def test_panels_have_whole_ones(monkeypatch, shape):
    monkeypatch.setattr(arrangement, "FASTER", IN_PANELS)
    assert arrangement.faster(tensor(Q4_0, *shape)) is IN_PANELS[Q4_0]


@pytest.mark.parametrize("shape", [(33, 64), (32, 3, 64), (64,)], ids=str)
def test_what_is_no_whole_panels_stays(monkeypatch, shape):
    monkeypatch.setattr(arrangement, "FASTER", IN_PANELS)
    assert arrangement.faster(tensor(Q4_0, *shape)) is None


def test_other_kernels_multiply_the_files_order(monkeypatch):
    monkeypatch.setattr(arrangement, "FASTER", {})
    assert arrangement.faster(tensor(Q4_0, 32, 64)) is None

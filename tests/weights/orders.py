"""Matrices of any bytes, and what they are in another order."""

import numpy as np

from divebell.weights.arrangement import arranged
from divebell.weights.tensor import Tensor


def any_bytes(format, shape, seed=0):
    return Tensor("w", format, shape, np.random.default_rng(seed).integers(0, 256, format.nbytes(shape), np.uint8))


def moved_to(orders, tensor):
    """All of it, where numpy can read it too."""
    moved = arranged(tensor, orders[tensor.format], np.empty(tensor.nbytes, np.uint8))
    moved.moving.settle()
    return moved


def numbers(tensor):
    with np.errstate(all="ignore"):
        return tensor.f32()


def check_same_numbers(stored, other):
    assert (other.shape, other.nbytes, other.name) == (stored.shape, stored.nbytes, "w")
    np.testing.assert_array_equal(numbers(other).view(np.uint32), numbers(stored).view(np.uint32))

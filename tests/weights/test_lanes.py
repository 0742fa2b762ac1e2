"""The same numbers in another order: what is decoded from lanes is what the file's blocks decode to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders import any_bytes, check_same_numbers, moved_to

from divebell import _native
from divebell.weights.formats import Q4_0, Q4_K, Q8_0
from divebell.weights.lanes import IN_LANES
from divebell.weights.tensor import Tensor

FORMATS = list(IN_LANES)


def moved(tensor):
    return moved_to(IN_LANES, tensor)


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
@given(st.integers(1, 5), st.integers(1, 20), st.integers(0, 1000))
def test_numbers_are_the_same_bits(format, rows, blocks, seed):
    stored = any_bytes(format, (rows, blocks * format.block), seed)
    check_same_numbers(stored, moved(stored))


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
def test_a_chunk_has_the_same_bits_in_other_places(format):
    """What is one bit in a file is one bit in lanes, each in a place of its own."""
    size, places = format.nbytes((256,)), []
    for bit in range(8 * size):
        data = np.zeros(size, np.uint8)
        data[bit // 8] = 1 << bit % 8
        places.append(np.flatnonzero(np.unpackbits(moved(Tensor("w", format, (1, 256), data)).data)))
    assert sorted(np.concatenate(places)) == list(range(8 * size))


def test_a_stack_is_split_after_it_was_moved():
    stack = any_bytes(Q4_0, (3, 5, 288))
    for whole, part in zip(moved(stack).split(), stack.split(), strict=True):
        np.testing.assert_array_equal(whole.data, moved(part).data)


def test_what_can_not_be_moved_is_refused():
    tensor = any_bytes(Q8_0, (2, 256))
    weight = _native.Weight(Q8_0.number, tensor.data, 2, 256)
    with pytest.raises(ValueError, match="2 rows of format number 8 have no order 1003"):
        _native.Moving(weight, 1003, np.empty(tensor.nbytes, np.uint8), False)
    tensor = any_bytes(Q4_K, (2, 256))
    weight = _native.Weight(Q4_K.number, tensor.data, 2, 256)
    with pytest.raises(ValueError, match="`to` differs in size"):
        _native.Moving(weight, 1005, np.empty(tensor.nbytes - 1, np.uint8), False)

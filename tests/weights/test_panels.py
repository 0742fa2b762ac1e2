"""Rows side by side: what is decoded from panels is what the file's blocks decode to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders import any_bytes, check_same_numbers, moved_to, numbers

from divebell import _native
from divebell.weights.formats import Q4_0, Q4_K, Q5_K
from divebell.weights.panels import IN_PANELS, ROWS

FORMATS = list(IN_PANELS)


def moved(tensor):
    return moved_to(IN_PANELS, tensor)


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
@given(st.integers(1, 3), st.integers(1, 20), st.integers(0, 1000))
def test_numbers_are_the_same_bits(format, panels, blocks, seed):
    stored = any_bytes(format, (panels * ROWS, blocks * format.block), seed)
    check_same_numbers(stored, moved(stored))


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
def test_it_is_the_same_bytes_in_other_places(format):
    stored = any_bytes(format, (2 * ROWS, 2 * format.block))
    np.testing.assert_array_equal(np.sort(moved(stored).data), np.sort(stored.data))
    assert not np.array_equal(moved(stored).data, stored.data)


def test_stacks_and_whole_panels_are_split_after_they_were_moved():
    stack = any_bytes(Q4_0, (3, 2 * ROWS, 288))
    for whole, part in zip(moved(stack).split(), stack.split(), strict=True):
        np.testing.assert_array_equal(whole.data, moved(part).data)
        np.testing.assert_array_equal(numbers(moved(part)[ROWS:]), numbers(part[ROWS:]))
    for rows in (5, slice(ROWS - 1, ROWS), slice(0, ROWS + 1)):
        with pytest.raises(ValueError, match="can't be had without a copy"):
            moved(stack)[0][rows]


def test_what_can_not_be_moved_is_refused():
    for format, rows, number in ((Q5_K, ROWS, 1010), (Q4_K, ROWS + 1, 1010), (Q4_K, ROWS, 1007)):
        tensor = any_bytes(format, (rows, 256))
        weight = _native.Weight(format.number, tensor.data, rows, 256)
        with pytest.raises(ValueError, match=f"{rows} rows of format number {format.number} have no order {number}"):
            _native.Moving(weight, number, np.empty(tensor.nbytes, np.uint8), False)

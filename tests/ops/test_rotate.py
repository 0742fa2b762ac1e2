"""rotate against the reference, to the bit: products are not fused."""

import numpy as np
import pytest

from divebell.ops import native, reference


def table(rows: int, width: int) -> np.ndarray:
    angles = np.arange(rows)[:, None] * 10000.0 ** (-np.arange(width // 2) / (width // 2))
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize(("dim", "width"), [(2, 2), (16, 16), (24, 16), (192, 64), (128, 128), (50, 38)])
@pytest.mark.parametrize("tokens", [0, 1, 3, 600])
def test_reference(dim, width, tokens, interleaved):
    rng = np.random.default_rng(0)
    x, positions = rng.standard_normal((tokens, 5, dim), np.float32), rng.integers(0, 99, tokens).astype(np.int32)
    rows = table(99, width)
    expected = reference.rotate(x, positions, rows, interleaved)
    np.testing.assert_array_equal(native.rotate(x, positions, rows, interleaved), expected)


@pytest.mark.parametrize("position", [-1, 8, 2**31 - 1])
def test_a_position_outside_the_table_is_refused(position):
    with pytest.raises(ValueError, match=f"position {position} is outside the table's 0 to 7"):
        native.rotate(np.zeros((1, 1, 4), np.float32), np.array([position], np.int32), table(8, 4), True)


def test_a_table_that_is_too_wide_is_refused():
    with pytest.raises(ValueError, match="a table of 8 columns does not fit rows of 4"):
        native.rotate(np.zeros((1, 1, 4), np.float32), np.zeros(1, np.int32), table(8, 8), True)

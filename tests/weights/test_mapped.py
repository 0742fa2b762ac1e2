import numpy as np
import pytest

from divebell.errors import BadFile
from divebell.weights.mapped import brief, map_file


def test_a_file_is_its_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert bytes(map_file(tmp_path / "file")) == b"abc"


def test_an_empty_file_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadFile, match=r"file: file: is empty"):
        map_file(tmp_path / "file")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"GGU", "b'GGU'"),
        ("a\nb", "'a\\nb'"),
        (5, "5"),
        (None, "None"),
        ([1, 2], "[1, 2]"),
        (np.array([[1, 2], [3, 4]]), "array([[1, 2], [3, 4]])"),
        ("x" * 81, "'" + "x" * 80 + "…'"),
        (list(range(10**20, 10**20 + 6)), f"[{10**20}, {10**20 + 1}, {10**20 + 2}, {10**20 + 3}"[:80] + "…"),
    ],
)
def test_values_are_shown_briefly_with_one_pair_of_quotes(value, shown):
    assert brief(value) == shown

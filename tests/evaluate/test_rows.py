"""Rows of JSON and lines of text, plain and gzipped."""

import contextlib
import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divebell.errors import BadFile
from divebell.evaluate.rows import placed_rows, placed_texts, rows


@pytest.fixture
def file(tmp_path):
    def write(raw: bytes):
        path = tmp_path / "file"
        path.write_bytes(raw)
        return path

    return write


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_rows_are_read_plain_and_gzipped_whatever_the_name(file, pack):
    path = file(pack('{"a": "é\u2028"}\n\n{"a": 2}'.encode()))
    assert placed_rows(path) == [("line 1", {"a": "é\u2028"}), ("line 3", {"a": 2})]
    assert rows(path) == [{"a": "é\u2028"}, {"a": 2}]
    assert [place for place, _ in placed_texts(path)] == ["line 1", "line 3"]


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"{", "line 1: is not valid JSON"),
        (b"{}\n[1]", "line 2: must be a JSON object"),
        (gzip.compress(b"{}", mtime=0)[:-9], "gzip: is damaged or ends too early"),
        (b"\x1f\x8b\x08", "ends too early"),
        (gzip.compress(b"{}", mtime=0)[:10] + b"\xff" * 20, "gzip: is damaged"),
        (b"\x1f\x8bxxxxxxxxxxxxxxxx", "can't be read"),
        (gzip.compress(bytes(65 << 20)), "larger than"),
    ],
)
def test_a_file_that_holds_no_rows_is_refused(file, raw, says):
    with pytest.raises(BadFile, match=says):
        rows(file(raw))


def test_a_text_that_is_none_is_refused(file):
    with pytest.raises(BadFile, match="text: is not UTF-8"):
        placed_texts(file(b"\xff"))


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(BadFile, match="none: rows: can't be read: No such file"):
        rows(tmp_path / "none")


@given(st.binary(max_size=60))
def test_any_bytes_are_rows_or_are_refused(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(raw)
    with contextlib.suppress(BadFile):
        assert all(isinstance(row, dict) for row in rows(path))

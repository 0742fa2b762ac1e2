import pytest
from hypothesis import given
from hypothesis import strategies as st

from divebell.engine.cache import PAGE
from divebell.engine.page_file import HEADER, KEY_BYTES, Damaged, key_of, name_of, pack, tokens_in, unpack

ROOT = bytes(KEY_BYTES)
TOKENS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=PAGE).map(tuple)


@given(tokens=TOKENS, page=st.binary(max_size=300))
def test_what_was_packed_comes_back(tokens, page):
    data = b"".join(pack(ROOT, tokens, page))
    found, own = unpack(memoryview(data), ROOT, key_of(ROOT, tokens), len(page))
    assert (found, bytes(own)) == (tokens, page)


def test_tokens_can_be_told_from_the_header_alone(tmp_path):
    file = tmp_path / "a.page"
    file.write_bytes(b"".join(pack(ROOT, (1, 2, 3), b"page")))
    assert tokens_in(file) == (1, 2, 3)
    file.write_bytes(b"short")
    assert tokens_in(file) == ()


def test_keys_stand_for_all_tokens_before():
    first, other = key_of(ROOT, (1, 2)), key_of(ROOT, (1, 3))
    assert (
        len({first, other, key_of(first, (5,)), key_of(other, (5,)), key_of(ROOT, (5,)), key_of(ROOT, (1, 2, 5))}) == 6
    )
    assert name_of(ROOT, first) == f"{'00' * 16}-{first.hex()}.page"


PAGE_BYTES = 200
GOOD = b"".join(pack(ROOT, tuple(range(PAGE)), bytes(range(PAGE_BYTES))))
KEY = key_of(ROOT, tuple(range(PAGE)))


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_changed_byte_anywhere_is_found(place, change):
    damaged = bytearray(GOOD)
    damaged[place] ^= change
    with pytest.raises(Damaged):
        unpack(memoryview(damaged), ROOT, KEY, PAGE_BYTES)


@given(st.one_of(st.integers(0, len(GOOD) - 1).map(lambda n: GOOD[:n]), st.binary(min_size=1).map(GOOD.__add__)))
def test_a_file_that_is_cut_or_too_long_is_found(data):
    with pytest.raises(Damaged, match="bytes instead of"):
        unpack(memoryview(data), ROOT, KEY, PAGE_BYTES)


@given(st.binary(min_size=HEADER, max_size=HEADER + 300))
def test_anything_else_is_found(data):
    with pytest.raises(Damaged):
        unpack(memoryview(data), ROOT, KEY, len(data) - HEADER)


def test_a_whole_page_under_a_wrong_name_is_found():
    for before, key in ((ROOT, key_of(ROOT, (1,))), (b"x" * KEY_BYTES, KEY)):
        with pytest.raises(Damaged, match="another page"):
            unpack(memoryview(GOOD), before, key, PAGE_BYTES)

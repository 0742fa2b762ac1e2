"""Metadata of every type and size; values that lie about their length are refused before memory is taken."""

import struct

import pytest
from hostile import check_limits, check_message, replace, shown
from hostile_gguf import ARCHITECTURE, ARRAY, BOOL, F32, I32, STRING, U8, U32, U64, array, entry, join, text, u32, u64
from small_gguf import plain

from divebell.errors import BadFile
from divebell.weights.gguf import read_file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gguf"


def read(path, *entries) -> dict:
    return read_file(replace(path, join([ARCHITECTURE, *entries])))[0]


def nested(depth: int) -> list[bytes]:
    return entry("k", ARRAY, *[u32(ARRAY), u64(1)] * (depth - 1), u32(U8), u64(2), b"\1\2")


@pytest.mark.parametrize(
    ("kind", "form", "value"),
    [
        (0, "<B", 255),
        (1, "<b", -128),
        (2, "<H", 2**16 - 1),
        (3, "<h", -(2**15)),
        (4, "<I", 2**32 - 1),
        (5, "<i", -(2**31)),
        (6, "<f", 1.5),
        (7, "<?", True),
        (10, "<Q", 2**64 - 1),
        (11, "<q", -(2**63)),
        (12, "<d", 1e300),
    ],
)
def test_numbers_are_pythons_and_arrays_numpys(path, kind, form, value):
    raw = struct.pack(form, value)
    metadata = read(path, entry("one", kind, raw), array("three", kind, 3, raw * 3), array("none", kind, 0))
    assert (metadata["one"], type(metadata["one"])) == (value, type(value))
    assert metadata["three"].tolist() == [value] * 3
    assert metadata["none"].shape == (0,)
    assert not metadata["three"].flags.writeable


def test_strings_and_arrays_of_arrays(path):
    inner = [u32(U8), u64(2), b"\1\2", u32(STRING), u64(1), *text("名")]
    metadata = read(path, entry("s", STRING, *text("naïve")), array("lists", ARRAY, 2, *inner), array("", STRING, 0))
    assert metadata["s"] == "naïve"
    assert list(map(plain, metadata["lists"])) == [[1, 2], ["名"]]
    assert metadata[""] == []
    assert read(path, nested(4))["k"][0][0][0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (entry("k", 13), r"metadata 'k': value type 13 does not exist"),
        (entry("k", 2**32 - 1), r"metadata 'k': value type 4294967295 does not exist"),
        (entry("k", BOOL, b"\2"), r"metadata 'k': a truth value is neither 0 nor 1"),
        (entry("k", STRING, u64(2**63), b"a"), r"metadata 'k': counts 9223372036854775808, which need"),
        (entry("k", STRING, *text(b"a\xff")), r"metadata 'k': is not UTF-8: invalid start byte"),
        (entry("k" * 200, 13), r"metadata 'k{80}…': value type 13"),
        (array("k", 13, 0), r"metadata 'k': array of type 13, which does not exist"),
        (
            array("k", I32, 2**61),
            r"metadata 'k': counts 2305843009213693952, which need 9223372036854775808 bytes",
        ),
        (array("k", U64, 2**64 - 1), r"metadata 'k': counts 18446744073709551615, which need"),
        (array("k", ARRAY, 2**63), r"metadata 'k': counts 9223372036854775808, which need"),
        (array("k", BOOL, 2, b"\1\2"), r"metadata 'k': a truth value is neither 0 nor 1"),
        (array("k", STRING, 2**63), r"metadata 'k': counts 9223372036854775808, which need"),
        (array("k", STRING, 1, u64(2**63)), r"metadata 'k': string 0 of 1 has length 9223372036854775808, more than"),
        (array("k", STRING, 2, *text("a"), u64(2**64 - 1)), r"metadata 'k': string 1 of 2 has length 184467440737095"),
        (array("k", STRING, 2, *text("a"), *text(b"\xc3(")), r"metadata 'k': string 1 is not UTF-8: invalid continu"),
        (array("k", STRING, 3, *text("abcdefgh" * 2)), r"metadata 'k': the file ends before string 1 of 3"),
        (nested(5), r"metadata 'k': arrays are nested too deeply"),
        (nested(10_000), r"metadata 'k': arrays are nested too deeply"),
        (entry("k", F32, b"\0"), r"metadata 'k': needs 4 bytes at offset \d+, but 1 are left \(file cut short\?\)"),
    ],
    ids=shown,
)
def test_damage_is_named(path, value, words):
    with pytest.raises(BadFile, match=rf"model\.gguf: {words}") as caught:
        read_file(replace(path, join([ARCHITECTURE, value], alignment=1)))
    check_message(caught.value, [path])


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (array("k", STRING, 1 << 30), "metadata 'k'"),
        (array("k", ARRAY, 1 << 30), "metadata 'k'"),
        (array("k", BOOL, 1 << 39), "metadata 'k'"),
        (entry("k", STRING, u64(1 << 39)), "metadata 'k'"),
        ([u64(1 << 39)], "key of metadata entry 1"),
    ],
    ids=shown,
)
def test_counts_that_a_huge_file_has_room_for_are_held_against_memory(path, value, field):
    with replace(path, join([ARCHITECTURE, value])).open("r+b") as file:
        file.truncate(1 << 40)
    check_limits(lambda: read_file(path))
    with pytest.raises(BadFile, match=f"{field}: would take more than the 120 MB of memory that a header may"):
        read_file(path)


def test_an_array_of_numbers_takes_no_memory_however_long(path):
    with replace(path, join([ARCHITECTURE, array("k", U64, 1 << 36)])).open("r+b") as file:
        file.truncate(1 << 40)
    check_limits(lambda: read_file(path))
    assert read_file(path)[0]["k"].shape == (1 << 36,)


def strings(word: str) -> list[bytes]:
    """As many as an allowance of 120 MB has room for."""
    number = (120 << 20) // (88 + 4 * len(word.encode())) - 1000
    return array("k", STRING, number, b"".join(text(word)) * number)


FULLEST = {
    "no characters": lambda: [strings("")],
    "two": lambda: [strings("ab")],
    "wide": lambda: [strings("名")],
    "wider": lambda: [strings("😀")],
    "longer": lambda: [strings("naïve 名")],
    "one that turns wide at its end": lambda: [strings("x" * 30_000_000 + "😀")],
    "one by itself": lambda: [entry("k", STRING, *text("x" * 30_000_000 + "😀"))],
    "arrays": lambda: [array("k", ARRAY, 83_000, (u32(U32) + u64(1) + u32(1)) * 83_000)],
    "entries": lambda: [[*text(f"{i:06}"), u32(ARRAY), u32(U32), u64(1), u32(1)] for i in range(78_000)],
    "an alignment of strings": lambda: [array("general.alignment", STRING, 1, *text("\1" * 30_000_000))],
}


@pytest.mark.slow
@pytest.mark.parametrize("content", FULLEST.values(), ids=FULLEST)
def test_the_fullest_values_stay_within_limits(path, content):
    replace(path, join([ARCHITECTURE, *content()]))
    check_limits(lambda: read_file(path))


def test_the_largest_vocabularies_have_room(path):
    tokens = array("tokens", STRING, 262_144, b"".join(b"".join(text(f"token{i:06}")) for i in range(262_144)))
    merges = array("merges", STRING, 514_906, b"".join(text("mer ges")) * 514_906)
    metadata = read(path, tokens, merges)
    assert metadata["tokens"] == [f"token{i:06}" for i in range(262_144)]
    assert len(metadata["merges"]) == 514_906

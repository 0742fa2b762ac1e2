"""What the gguf package writes is read back, without a copy; what breaks the format is refused by name."""

import tracemalloc

import gguf
import numpy as np
import pytest
from hostile import check_limits, check_message, outcomes, readable, replace, shown, span
from hostile_gguf import (
    ARCHITECTURE,
    ARRAY,
    BOOL,
    STRING,
    U32,
    Pieces,
    array,
    damaged,
    entry,
    info,
    join,
    text,
    u32,
    u64,
)
from small_gguf import BLOCKS, KINDS, METADATA, STORED, VALUES, infos_and_data, plain, write_by_package

from divebell.errors import BadFile, Unsupported
from divebell.weights.checkpoint import open_checkpoint
from divebell.weights.gguf import read_file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gguf"


def test_what_the_package_writes_is_read(path):
    metadata, tensors = read_file(write_by_package(path))
    assert list(map(plain, metadata.values())) == VALUES
    assert list(tensors) == list(STORED)
    for name, (kind, shape) in STORED.items():
        assert (tensors[name].format.number, tensors[name].shape) == (kind, shape)
        np.testing.assert_array_equal(tensors[name].data, BLOCKS[name].reshape(-1).view(np.uint8))
        np.testing.assert_array_equal(tensors[name].f32(), gguf.dequantize(BLOCKS[name], kind).reshape(shape))


def test_files_put_together_by_hand_are_the_packages(path):
    infos, data = infos_and_data()
    assert write_by_package(path).read_bytes() == join(METADATA, infos, data)


def test_version_2_is_read_as_version_3(path):
    infos, data = infos_and_data()
    metadata, tensors = read_file(replace(path, join(METADATA, infos, data, version=2)))
    assert list(map(plain, metadata.values())) == VALUES
    assert {name: tensor.data.tobytes() for name, tensor in tensors.items()} == {
        name: blocks.tobytes() for name, blocks in BLOCKS.items()
    }


def test_the_data_is_the_files_own(path):
    big = b"".join([u32(i) for i in range(1 << 18)])
    replace(path, join(infos=[info("big", [1 << 18], 0, 0)], data=big))
    tracemalloc.start()
    _, tensors = read_file(path)
    assert tracemalloc.get_traced_memory()[1] < 200_000
    tracemalloc.stop()
    _, begin, end, size = span(tensors["big"].data)
    assert (end - begin, end) == (1 << 20, size)
    assert not tensors["big"].data.flags.writeable


@pytest.mark.parametrize("alignment", [1, 2, 8, 64, 4096])
def test_any_alignment_is_kept(path, alignment):
    """Where it is small, float32 numbers lie where no processor would have them."""
    entries = [ARCHITECTURE, entry("general.alignment", U32, u32(alignment))]
    data = np.float16([1, 2, 3]).tobytes()
    data += bytes(-len(data) % alignment)
    second = len(data)
    data += np.float32([4, 5]).tobytes()
    infos = [info("a", [3], KINDS.F16, 0), info("b", [2], KINDS.F32, second)]
    _, tensors = read_file(replace(path, join(entries, infos, data, alignment=alignment)))
    assert tensors["a"].f32().tolist() == [1, 2, 3]
    assert tensors["b"].f32().tolist() == [4, 5]


def one(dimensions=(4,), kind=0, offset=0, name="a") -> Pieces:
    return info(name, dimensions, kind, offset)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"GGU", r"magic: needs 4 bytes at offset 0, but 3 are left \(file cut short\?\)"),
        (b"GGML" + bytes(20), r"magic: is not 'GGUF'"),
        (b"GGUF\3\0", r"version: needs 4 bytes at offset 4, but 2 are left"),
        (
            join(counts=(2**63, 1)),
            r"tensor count: counts 9223372036854775808, which need 2213.* bytes, but \d+ are left",
        ),
        (join(counts=(1, 2**64 - 1)), r"metadata count: counts 18446744073709551615, which need"),
        (join(counts=(0, 2), alignment=1), r"key of metadata entry 1: needs 8 bytes at offset 69, but 0 are left"),
        (join([ARCHITECTURE] * 2), r"key of metadata entry 1: 'general.architecture' is there twice"),
        (
            join([ARCHITECTURE, entry(b"\xff", U32, u32(1))]),
            r"key of metadata entry 1: is not UTF-8: invalid start byte",
        ),
        (
            join([ARCHITECTURE, entry("general.alignment", U32, u32(0))]),
            r"general.alignment: is 0; .* a power of two",
        ),
        (
            join([ARCHITECTURE, entry("general.alignment", U32, u32(24))]),
            r"general.alignment: is 24; .* power of two",
        ),
        (
            join([ARCHITECTURE, entry("general.alignment", BOOL, b"\1")]),
            r"general.alignment: is True; .* power of two",
        ),
        (join(infos=[one()] * 2, data=bytes(48)), r"name of tensor 1 of 2: 'a' is there twice"),
        (join(infos=[one(name=b"a\xc3")]), r"name of tensor 0 of 1: is not UTF-8: unexpected end of data"),
        (join(infos=[[u64(2**63), *one()[1:]]]), r"name of tensor 0 of 1: counts 9223372036854775808, which need"),
        (join(infos=[one(dimensions=())]), r"tensor 'a': dimensions: there are 0; 1 to 4 are allowed"),
        (join(infos=[one(dimensions=[1] * 5)]), r"tensor 'a': dimensions: there are 5; 1 to 4 are allowed"),
        (join(infos=[one(dimensions=[4, 0])]), r"tensor 'a': dimensions: \(4, 0\): each must be at least 1"),
        (join(infos=[one(dimensions=[2**63])]), r"tensor 'a': dimensions: .* their product at most 2\^60"),
        (join(infos=[one(dimensions=[2**31] * 4)]), r"tensor 'a': dimensions: .* their product at most 2\^60"),
        (join(infos=[one(dimensions=[33], kind=8)]), r"tensor 'a': type: Q8_0 has blocks of 32, but rows have 33"),
        (join(infos=[one(dimensions=[48], kind=1001)]), r"tensor 'a': type: D4 has blocks of 32, but rows have 48"),
        (
            join(infos=[one(dimensions=[32, 2], kind=1002)], data=bytes(69)),
            r"tensor 'a': offset: 70 bytes at 0 do not lie",
        ),
        (join(infos=[one(dimensions=[8, 4], kind=8)]), r"tensor 'a': type: Q8_0 has blocks of 32, but rows have 8"),
        (join(infos=[one(offset=32)], data=bytes(48)), r"tensor 'a': offset: is 32; .* ends \(aligned\) at 0"),
        (join(infos=[one(), one(name="b")], data=bytes(48)), r"tensor 'b': offset: is 0; .* ends \(aligned\) at 32"),
        (join(infos=[one(), one(offset=16, name="b")], data=bytes(48)), r"tensor 'b': offset: is 16; .* at 32"),
        (join(infos=[one(offset=2**63)], data=bytes(48)), r"tensor 'a': offset: is 9223372036854775808; "),
        (join(infos=[one()], data=bytes(15)), r"tensor 'a': offset: 16 bytes at 0 do not lie within the 15 bytes"),
        (join(infos=[one()], data=b""), r"tensor 'a': offset: 16 bytes at 0 do not lie within the 0 bytes of data"),
    ],
    ids=shown,
)
def test_damage_is_named(path, raw, words):
    with pytest.raises(BadFile, match=rf"model\.gguf: {words}") as caught:
        read_file(replace(path, raw))
    check_message(caught.value, [path])


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (join(version=1), r"GGUF version 1 is not supported; known: 2, 3"),
        (join(version=2**31), r"byte order 'big-endian' is not supported; known: little-endian"),
        (
            join(infos=[one(kind=26)], data=bytes(16)),
            r"tensor 'a': type 'I32' is not supported; known: BF16, D4, D8, F16",
        ),
        (join(infos=[one(kind=4)], data=bytes(16)), r"tensor 'a': type 4 is not supported"),
        (join(infos=[one(kind=1000)], data=bytes(16)), r"tensor 'a': type 1000 is not supported"),
    ],
    ids=shown,
)
def test_what_is_not_known_is_not_supported(path, raw, words):
    with pytest.raises(Unsupported, match=rf"model\.gguf: {words}"):
        read_file(replace(path, raw))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (join(counts=(1 << 30, 1)), r"tensor '': dimensions: there are 0"),
        (join(counts=(0, 1 << 30)), r"key of metadata entry 2: '' is there twice"),
    ],
    ids=shown,
)
def test_counts_that_a_huge_file_has_room_for_are_held_against_memory(path, raw, words):
    """A file of a terabyte that takes no space on the disk: its size allows any count."""
    with replace(path, raw).open("r+b") as file:
        file.truncate(1 << 40)
    check_limits(lambda: read_file(path))
    with pytest.raises(BadFile, match=rf"model\.gguf: {words}"):
        read_file(path)


@pytest.mark.slow
def test_the_most_tensors_that_a_header_may_hold_stay_within_limits(path):
    infos = [info(f"{i:06}", [8, 1, 1, 1], 0, 32 * i) for i in range(40_000)]
    replace(path, join(infos=infos, data=bytes(32 * 40_000)))
    assert len(read_file(path)[1]) == 40_000
    check_limits(lambda: read_file(path))


@pytest.mark.parametrize("cases", [range(1000), pytest.param(range(1000, 10_000), marks=pytest.mark.slow)], ids=len)
def test_mutated_headers_are_refused_or_read_right(path, cases):
    nested = array("nested", ARRAY, 2, u32(U32), u64(1), u32(7), u32(STRING), u64(1), *text("x"))
    infos, data = infos_and_data()

    def damage(rng):
        entries = [*METADATA, nested] if rng.random() < 0.5 else METADATA
        return replace(path, damaged(rng, entries, infos, data))

    found = outcomes(cases, damage, [path], as_the_package_reads)
    print(dict(found))
    assert found["BadFile"] > len(cases) / 2
    assert found["Unsupported"]
    assert found["loaded"] > len(cases) / 100


def as_the_package_reads(checkpoint):
    """What we take, the package takes for the same."""
    try:
        theirs = gguf.GGUFReader(checkpoint.path)
    except Exception as problem:
        return f"loaded, but not by the package: {problem!r}"[:90]
    assert [tensor.name for tensor in theirs.tensors] == list(checkpoint.tensors)
    for their, our in zip(theirs.tensors, readable(checkpoint, [checkpoint.path]), strict=True):
        assert (our.format.number, list(our.shape[::-1])) == (their.tensor_type, their.shape.tolist())
        assert our.data.tobytes() == their.data.tobytes()
    fields = {name: field for name, field in theirs.fields.items() if not name.startswith("GGUF.")}
    assert fields.keys() == checkpoint.config.keys()
    for name, field in fields.items():
        if field.types.count(gguf.GGUFValueType.ARRAY) < 2:
            assert repr(plain(checkpoint.config[name])) == repr(field.contents())
    return "loaded"


def test_it_opens_as_a_checkpoint(path):
    checkpoint = open_checkpoint(write_by_package(path))
    assert (checkpoint.kind, checkpoint.architecture, checkpoint.files) == ("gguf", "llama", [path])
    assert checkpoint.file_sizes == {path: path.stat().st_size}

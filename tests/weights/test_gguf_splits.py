"""GGUF files in several parts: read as one, or refused naming the part that does not belong."""

import gguf
import pytest
from hostile import replace
from hostile_gguf import ARCHITECTURE, I32, U32, array, entry, info, join, u32
from small_gguf import BLOCKS, finish

from divebell.errors import BadFile, BadInput
from divebell.weights.gguf import read_split


def part(index: object, count: int, name: str, total: int = 2) -> bytes:
    number = index if isinstance(index, list) else entry("split.no", U32, u32(index))
    splits = [number, entry("split.count", U32, u32(count)), entry("split.tensors.count", I32, u32(total))]
    return join([ARCHITECTURE, *splits], [info(name, [4], 0, 0)], bytes(16))


def parts(folder, *contents: bytes):
    for index, raw in enumerate(contents, start=1):
        replace(folder / f"m-{index:05d}-of-00002.gguf", raw)
    return folder / "m-00001-of-00002.gguf"


def test_a_split_file_is_read_whole(tmp_path):
    first = parts(tmp_path, part(0, 2, "a"), part(1, 2, "b"))
    files, metadata, tensors = read_split(first)
    assert [file.name[:7] for file in files] == ["m-00001", "m-00002"]
    assert list(tensors) == ["a", "b"]
    assert metadata["general.architecture"] == "llama"


def test_splits_of_the_package_are_read(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=2)
    finish(writer)
    files, _, tensors = read_split(tmp_path / "m-00001-of-00003.gguf")
    assert len(files) == 3
    assert {name: tensor.data.tobytes() for name, tensor in tensors.items()} == {
        name: blocks.tobytes() for name, blocks in BLOCKS.items()
    }


LIST = array("split.no", U32, 2, u32(0), u32(1))


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (part(0, 2, "a"), part(1, 2, "a"), r"00002-of-00002\.gguf: tensor 'a': is in an earlier part too"),
        (part(0, 2, "a"), part(0, 2, "b"), r"00002-of-00002\.gguf: split.no: is 0; it must be 1 in this part"),
        (part(0, 2, "a"), part(1, 3, "b"), r"00002-of-00002\.gguf: split.count: is 3; it must be 2 in this part"),
        (part(0, 2, "a"), part(LIST, 2, "b"), r"00002-of-00002\.gguf: split.no: is array.*; it must be 1"),
        (part(LIST, 2, "a"), part(1, 2, "b"), r"00001-of-00002\.gguf: split.no: is array.*; the name says 0"),
        (part(1, 2, "a"), part(1, 2, "b"), r"00001-of-00002\.gguf: split.no: is 1; the name says 0"),
        (part(0, 3, "a"), part(1, 2, "b"), r"split.count: is 3, so the name must end in -00001-of-00003\.gguf"),
        (part(0, 2, "a", 3), part(1, 2, "b"), r"00001-of-00002\.gguf: split.tensors.count: is 3; the parts hold 2"),
        (part(0, 2, "a"), b"GGUF", r"00002-of-00002\.gguf: version: needs 4 bytes"),
    ],
)
def test_parts_that_do_not_belong_together_are_named(tmp_path, first, second, words):
    with pytest.raises(BadFile, match=words):
        read_split(parts(tmp_path, first, second))


def test_a_missing_or_a_later_part_is_told(tmp_path):
    with pytest.raises(BadFile, match=r"00002-of-00002\.gguf: file: can't be read: No such file"):
        read_split(parts(tmp_path, part(0, 2, "a")))
    parts(tmp_path, part(0, 2, "a"), part(1, 2, "b"))
    with pytest.raises(BadInput, match=r"continues another file; give the first, m-00001-of-00002\.gguf"):
        read_split(tmp_path / "m-00002-of-00002.gguf")

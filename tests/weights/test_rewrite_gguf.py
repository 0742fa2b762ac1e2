"""A GGUF file written anew: the same metadata to the byte, other tensors."""

import gguf
import numpy as np
import pytest
from hostile_gguf import ARCHITECTURE, U32, entry, join, u32
from small_gguf import METADATA, VALUES, plain, write_by_package

from divebell.weights.entry import Entry
from divebell.weights.formats import BY_NAME, D4, F32
from divebell.weights.gguf import read_file
from divebell.weights.rewrite_gguf import rewrite_gguf

ENTRIES = [Entry("a", (3, 288), D4), Entry("naïve 名", (5,), F32), Entry("stack", (2, 3, 64), BY_NAME["D8"])]


@pytest.fixture
def data():
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, entry.nbytes, dtype=np.uint8) for entry in ENTRIES]


def test_metadata_and_tensors_are_read_back(tmp_path, data):
    source = write_by_package(tmp_path / "source.gguf")
    rewrite_gguf(source, tmp_path / "out.gguf", ENTRIES, iter(data))
    metadata, tensors = read_file(tmp_path / "out.gguf")
    assert list(map(plain, metadata.values())) == VALUES
    assert [(t.name, t.shape, t.format) for t in tensors.values()] == [(e.name, e.shape, e.format) for e in ENTRIES]
    for tensor, expected in zip(tensors.values(), data, strict=True):
        np.testing.assert_array_equal(tensor.data, expected)


def test_the_package_reads_what_has_formats_it_knows(tmp_path):
    source, x = write_by_package(tmp_path / "source.gguf"), np.arange(6, dtype=np.float32)
    rewrite_gguf(source, tmp_path / "out.gguf", [Entry("x", (2, 3), F32)], iter([x.view(np.uint8)]))
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    np.testing.assert_array_equal(reader.tensors[0].data, x.reshape(2, 3))
    assert reader.fields["general.architecture"].contents() == VALUES[0]


def test_its_own_alignment_is_kept(tmp_path, data):
    source = tmp_path / "source.gguf"
    source.write_bytes(join(entries=[ARCHITECTURE, entry("general.alignment", U32, u32(256))]))
    rewrite_gguf(source, tmp_path / "out.gguf", ENTRIES, iter(data))
    metadata, tensors = read_file(tmp_path / "out.gguf")
    assert metadata["general.alignment"] == 256
    np.testing.assert_array_equal(tensors["stack"].data, data[2])


def test_what_would_be_untrue_is_left_out(tmp_path, data):
    source = tmp_path / "source.gguf"
    stale = [entry(key, U32, u32(2)) for key in ("split.count", "split.no", "general.file_type")]
    source.write_bytes(join(entries=[*METADATA, *stale]))
    rewrite_gguf(source, tmp_path / "out.gguf", ENTRIES, iter(data))
    assert list(map(plain, read_file(tmp_path / "out.gguf")[0].values())) == VALUES


def test_nothing_is_left_of_a_file_that_could_not_be_finished(tmp_path, data):
    source = write_by_package(tmp_path / "source.gguf")
    with pytest.raises(StopIteration):
        rewrite_gguf(source, tmp_path / "out.gguf", ENTRIES, iter(data[:1]))
    assert [path.name for path in tmp_path.iterdir()] == ["source.gguf"]

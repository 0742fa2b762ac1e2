import os

import numpy as np
import pytest

from divebell.engine.cache import Cache
from divebell.engine.identity import file_identity, identity
from divebell.weights.checkpoint import open_checkpoint
from divebell.weights.store import record

LAYOUT = ({"k": 8},)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(bytes(range(256)) * 40_000)  # ten megabytes
    return path


def changed(path, place: int) -> None:
    """One byte, and nothing of its dates."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_file_is_known_again_and_another_time_of_change_is_another_file(file):
    first = file_identity(file)
    assert file_identity(file) == first
    os.utime(file, ns=(0, 1))
    assert file_identity(file) != first


@pytest.mark.parametrize("place", [0, 5_000, 10_239_999])
def test_other_content_with_the_same_dates_is_another_file(file, place):
    first = file_identity(file)
    changed(file, place)
    assert file_identity(file) != first


def test_a_sum_on_record_is_what_counts(file):
    record(file, "ab" * 32, "somewhere")
    assert file_identity(file) == "ab" * 32


def test_models_share_pages_only_if_all_is_the_same(tiny, tmp_path):
    checkpoint = open_checkpoint(tiny("llama"))
    floats, halves, wide = (Cache(layout, t, 1) for layout, t in ((LAYOUT, "f4"), (LAYOUT, "f2"), (({"k": 9},), "f4")))
    one = identity(checkpoint, "f32", floats)
    assert identity(open_checkpoint(tiny("llama")), "f32", Cache(LAYOUT, np.float32, 5)) == one
    others = [
        identity(checkpoint, "bf16", floats),
        identity(checkpoint, "f32", halves),
        identity(checkpoint, "f32", wide),
    ]
    others.append(identity(open_checkpoint(tiny("mistral")), "f32", floats))
    assert one not in others

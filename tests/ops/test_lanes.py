"""Products of weights in lanes are the bits that the same weights give as they are stored."""

import numpy as np
import pytest
import stored

from divebell import _native
from divebell.ops import native
from divebell.weights.arrangement import arranged
from divebell.weights.formats import Q4_0
from divebell.weights.lanes import IN_LANES

FORMATS = list(IN_LANES)
SHAPES = [(37, 544), (70, 1280), (5, 256), (37, 576), (33, 352), (3, 640), (64, 224), (2, 32), (67, 128), (64, 64)]
read_here = pytest.mark.skipif(_native.isa != "avx2", reason="only AVX2's kernels read this order")


def moved(tensor):
    return arranged(tensor, IN_LANES[tensor.format], np.empty(tensor.nbytes, np.uint8))


def pair(format, rows, cols, seed=0):
    """A handle of a random matrix as it is stored, and one of it in lanes."""
    tensor = stored.random_tensor(format, rows, max(cols // format.block, 1) * format.block, seed)
    return native.weight(tensor), native.weight(moved(tensor))


@read_here
@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_products_of_few_and_many_tokens(format, shape):
    as_stored, in_lanes = pair(format, *shape)
    for T in (1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 130):
        x = np.random.default_rng(T).standard_normal((T, as_stored.shape[1])).astype(np.float32)
        np.testing.assert_array_equal(native.linears(x, [in_lanes])[0], native.linears(x, [as_stored])[0])


@read_here
@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
def test_rows_that_are_looked_up(format):
    as_stored, in_lanes = pair(format, 20, 576)
    np.testing.assert_array_equal(native.decode(in_lanes), native.decode(as_stored))
    np.testing.assert_array_equal(native.embed(in_lanes, [3, 19, 3]), native.embed(as_stored, [3, 19, 3]))


@read_here
@pytest.mark.parametrize("T", [1, 3, 20])
def test_experts(T):
    rng, parts = np.random.default_rng(T), [(96, 288), (96, 288), (288, 96)]
    tensors = [[stored.random_tensor(Q4_0, *shape, seed) for seed in range(8)] for shape in parts]
    in_lanes = [[moved(tensor) for tensor in part] for part in tensors]
    x = rng.standard_normal((T, 288)).astype(np.float32)
    ids = np.stack([rng.permutation(8)[:3] for _ in range(T)]).astype(np.int32)
    weights = rng.random((T, 3), np.float32)
    expected, found = (native.moe(x, ids, weights, native.experts(*each)) for each in (tensors, in_lanes))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(_native.isa == "avx2", reason="AVX2's kernels read this order")
def test_other_kernels_refuse_it():
    tensor = stored.random_tensor(Q4_0, 2, 64)
    with pytest.raises(ValueError, match="only AVX2 reads format number 1003"):
        native.weight(moved(tensor))

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divebell.weights.formats import F8_E4M3, F32, FORMATS, Q8_0
from divebell.weights.tensor import Tensor


def random_tensor(format, shape, seed=0) -> Tensor:
    data = np.random.default_rng(seed).integers(0, 100, format.nbytes(shape), dtype=np.uint8)
    return Tensor("w", format, shape, data)


def scaled_tensor(rows: int, cols: int) -> Tensor:
    scales = np.random.default_rng(1).normal(size=(-(-rows // 128), -(-cols // 128))).astype(np.float32)
    plain = random_tensor(F8_E4M3, (rows, cols))
    return Tensor("w", F8_E4M3, plain.shape, plain.data, scales)


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
def test_rows_and_stacks_are_parts_of_the_whole(format):
    whole = random_tensor(format, (4, 3, 512))
    np.testing.assert_array_equal(whole[2].f32(), whole.f32()[2])
    np.testing.assert_array_equal(whole[-1].f32(), whole.f32()[-1])
    np.testing.assert_array_equal(whole[1:3].f32(), whole.f32()[1:3])
    np.testing.assert_array_equal(whole.reshape(12, 512)[5].f32(), whole.f32().reshape(12, 512)[5])
    assert [part.shape for part in whole.split()] == [(3, 512)] * 4
    assert np.shares_memory(whole[2].data, whole.data)


def test_f8_is_multiplied_by_the_scale_of_its_block():
    tensor = scaled_tensor(300, 200)
    spread = np.repeat(np.repeat(tensor.scales, 128, axis=0), 128, axis=1)[:300, :200]
    np.testing.assert_array_equal(tensor.f32(), F8_E4M3.decode(tensor.data).reshape(300, 200) * spread)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_slices_of_scaled_f8_keep_their_blocks(begin, end, inner):
    tensor = scaled_tensor(300, 130)
    part = tensor[begin:end]
    np.testing.assert_array_equal(part.f32(), tensor.f32()[begin:end])
    np.testing.assert_array_equal(part[inner:].f32(), tensor.f32()[begin:end][inner:])


def test_one_row_of_scaled_f8():
    tensor = scaled_tensor(300, 130)
    np.testing.assert_array_equal(tensor[200].f32(), tensor.f32()[200])


def test_scalars_and_empty_tensors():
    assert Tensor("w", F32, (), np.float32([3]).view(np.uint8)).f32() == np.float32(3)
    assert Tensor("w", F32, (0, 8), np.zeros(0, np.uint8)).f32().shape == (0, 8)


def test_what_needs_a_copy_or_does_not_exist_is_refused():
    tensor = random_tensor(Q8_0, (4, 64))
    with pytest.raises(IndexError):
        tensor[4]
    with pytest.raises(ValueError, match="copy"):
        tensor[::2]
    with pytest.raises(ValueError, match="copy"):
        tensor.reshape(2, 128)
    with pytest.raises(ValueError, match="copy"):
        random_tensor(Q8_0, (64,))[:32]


def test_the_same_is_told_by_format_shape_scales_and_every_byte():
    tensor, other = random_tensor(F32, (700, 512)), random_tensor(F32, (700, 512))
    assert tensor.same(other)
    other.data[-1] += 1
    assert not tensor.same(other)
    assert not tensor.same(tensor[:699])
    assert not scaled_tensor(300, 200).same(random_tensor(F8_E4M3, (300, 200)))

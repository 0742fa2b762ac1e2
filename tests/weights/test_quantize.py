import tracemalloc

import gguf
import ml_dtypes
import numpy as np
import pytest

from divebell.errors import BadInput, Mismatch
from divebell.weights.formats import BF16, D4, D8, F8_E4M3, F32, Q4_K
from divebell.weights.quantize import convert, encoded
from divebell.weights.tensor import Tensor

QUANTIZED = {"q8": D8, "q4": D4}


def tensor(numbers: np.ndarray) -> Tensor:
    numbers = np.ascontiguousarray(numbers, np.float32)
    return Tensor("w", F32, numbers.shape, numbers.reshape(-1).view(np.uint8))


def reference(numbers: np.ndarray, format) -> np.ndarray:
    with np.errstate(all="ignore"):
        return gguf.quants.quantize(np.float32(numbers), gguf.GGMLQuantizationType[format.name]).reshape(-1)


@pytest.mark.parametrize("target", QUANTIZED)
@pytest.mark.parametrize("columns", [32, 256, 544])
def test_rows_of_any_number_of_blocks_become_fewer_bits(target, columns):
    numbers = np.random.default_rng(1).normal(0, 0.02, (700, columns)).astype(np.float32)
    converted, share = convert(tensor(numbers), target), {"q8": 0.006, "q4": 0.08}[target]
    assert (converted.format, converted.shape) == (QUANTIZED[target], (700, columns))
    assert converted.data.size == converted.nbytes
    assert (converted.f32() - numbers).std() < share * numbers.std()


@pytest.mark.parametrize("target", QUANTIZED)
def test_pieces_are_the_whole_and_each_part_of_a_stack_has_its_own_importance(target):
    numbers, format = np.random.default_rng(1).normal(size=(3, 40, 64)).astype(np.float32), QUANTIZED[target]
    importance = np.random.default_rng(2).random((3, 64), np.float32)
    whole = np.concatenate(list(encoded(tensor(numbers), format, importance)))
    parts = [np.concatenate(list(encoded(tensor(numbers[i]), format, importance[i]))) for i in range(3)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert not np.array_equal(whole, np.concatenate(list(encoded(tensor(numbers), format))))


def test_bf16_rounds_to_nearest_even_and_keeps_infinities_and_nan():
    bits = np.random.default_rng(2).integers(0, 2**32, 1 << 16, dtype=np.uint32)
    bits[:6] = [0x7F800000, 0xFF800000, 0x7F800001, 0xFFFFFFFF, 0x3F808000, 0x3F818000]
    numbers = bits.view(np.float32).reshape(-1, 64)
    converted = convert(tensor(numbers), "bf16")
    assert converted.format is BF16
    np.testing.assert_array_equal(converted.data.view(np.uint16), reference(numbers, BF16).view(np.uint16))
    real = ~np.isnan(numbers)
    with np.errstate(invalid="ignore"):
        theirs = numbers.astype(ml_dtypes.bfloat16).view(np.uint16)
    np.testing.assert_array_equal(converted.data.view(np.uint16).reshape(real.shape)[real], theirs[real])


@pytest.mark.parametrize("target", ["bf16", "q8", "q4"])
def test_vectors_stay_float32(target):
    assert convert(tensor(np.ones(64)), target).format is F32


@pytest.mark.parametrize("target", QUANTIZED)
def test_rows_that_are_no_whole_blocks_stay_float32(target):
    numbers = np.random.default_rng(3).normal(size=(4, 48))
    converted = convert(tensor(numbers), target)
    assert converted.format is F32
    np.testing.assert_array_equal(converted.f32(), np.float32(numbers))


@pytest.mark.parametrize("target", ["f32", "bf16", "q8", "q4"])
def test_what_is_so_already_is_not_copied(target):
    once = convert(tensor(np.random.default_rng(4).normal(size=(2, 64))), target)
    assert convert(once, target) is once


def test_stored_blocks_become_float32_as_their_format_decodes():
    data = np.random.default_rng(5).integers(0, 120, 6 * Q4_K.block_bytes, dtype=np.uint8)
    stored = Tensor("w", Q4_K, (2, 3, 256), data)
    np.testing.assert_array_equal(convert(stored, "f32").f32(), Q4_K.decode(data).reshape(2, 3, 256))


def test_scales_of_f8_are_in_what_comes_out():
    data = np.random.default_rng(6).integers(0, 0x70, 300 * 160, dtype=np.uint8)
    stored = Tensor("w", F8_E4M3, (300, 160), data, np.float32([[1, 2], [3, 4], [5, 6]]))
    converted = convert(stored, "f32")
    assert converted.scales is None
    np.testing.assert_array_equal(converted.f32(), stored.f32())
    np.testing.assert_array_equal(convert(stored, "q8").data, convert(tensor(stored.f32()), "q8").data)


@pytest.mark.parametrize("target", QUANTIZED)
def test_numbers_too_small_for_a_scale_become_zero(target):
    numbers = np.full((1, 32), 1e-40, np.float32)
    assert not convert(tensor(numbers), target).f32().any()


@pytest.mark.parametrize("target", QUANTIZED)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_what_no_block_can_hold_is_refused_by_name(target, value):
    numbers = np.ones((2, 64))
    numbers[1, 7] = value
    with pytest.raises(Mismatch, match="tensor w "):
        convert(tensor(numbers), target)


def test_another_target_is_refused_with_the_list():
    with pytest.raises(BadInput, match=r"q5.*f32, bf16, q8, q4"):
        convert(tensor(np.ones((1, 32))), "q5")


@pytest.mark.parametrize("target", ["bf16", "q8", "q4"])
def test_memory_beyond_the_result_is_bounded(target):
    stored = tensor(np.ones((4096, 1024)))
    tracemalloc.start()
    converted = convert(stored, target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < converted.nbytes + (8 << 20)


def test_an_empty_matrix_stays_empty():
    assert convert(tensor(np.zeros((0, 32))), "q8").data.size == 0

import gguf
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divebell.weights.decoding import IQ4_VALUES
from divebell.weights.formats import BY_NAME, D4, D8, F8_E4M3, F32, FORMATS, MXFP4, OWN, Q4_K, Format

GGML = [f for f in FORMATS if f is not F8_E4M3]


def reference(format: Format, data: np.ndarray) -> np.ndarray:
    if format is F8_E4M3:
        return data.view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    with np.errstate(all="ignore"):
        return gguf.quants.dequantize(data.reshape(-1, format.block_bytes), format.number).reshape(-1)


def assert_same_bits(format: Format, data: np.ndarray):
    ours, theirs = format.decode(data), reference(format, data)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours.view(np.uint32), theirs.view(np.uint32))


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
def test_random_bits_decode_as_the_reference(format):
    rng = np.random.default_rng(format.number)
    assert_same_bits(format, rng.integers(0, 256, 3000 * format.block_bytes, dtype=np.uint8))


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
@pytest.mark.parametrize("byte", [0x00, 0x7F, 0x80, 0xFF, 0x7C, 0xFC, 0x01, 0x0F, 0xF0])
def test_hostile_bits_decode_as_the_reference(format, byte):
    assert_same_bits(format, np.full(format.block_bytes * 7, byte, np.uint8))


@pytest.mark.parametrize("format", [f for f in FORMATS if f.halves], ids=lambda f: f.name)
@pytest.mark.parametrize("scale", [np.inf, -np.inf, np.nan, -0.0, 65504, 6e-8])
def test_extreme_scales_decode_as_the_reference(format, scale):
    blocks = np.random.default_rng(1).integers(0, 256, (50, format.block_bytes), dtype=np.uint8)
    for at in format.halves:
        blocks[::2, at : at + 2] = np.array([scale], np.float16).view(np.uint8)
    assert_same_bits(format, blocks.reshape(-1))


@given(st.sampled_from(FORMATS), st.data())
def test_any_block_decodes_as_the_reference(format, data):
    block = data.draw(st.binary(min_size=format.block_bytes, max_size=format.block_bytes))
    assert_same_bits(format, np.frombuffer(block, np.uint8))


def test_every_byte_of_f8_and_every_exponent_of_mxfp4():
    assert_same_bits(F8_E4M3, np.arange(256, dtype=np.uint8))
    blocks = np.random.default_rng(2).integers(0, 256, (256, 17), dtype=np.uint8)
    blocks[:, 0] = np.arange(256)
    assert_same_bits(MXFP4, blocks.reshape(-1))


def test_decoding_in_chunks_joins_them_in_order():
    data = np.random.default_rng(3).integers(0, 256, 1000 * Q4_K.block_bytes, dtype=np.uint8)
    whole = Q4_K.decode(data).view(np.uint32)
    apart = np.concatenate([Q4_K.decode(data[i : i + 144]) for i in range(0, len(data), 144)]).view(np.uint32)
    np.testing.assert_array_equal(whole, apart)


def test_decoding_takes_unaligned_bytes():
    raw = np.frombuffer(b"x" + np.arange(5, dtype=np.float32).tobytes(), np.uint8)
    np.testing.assert_array_equal(F32.decode(raw[1:]), np.arange(5))


def test_nothing_decodes_to_nothing():
    assert all(f.decode(np.zeros(0, np.uint8)).shape == (0,) for f in FORMATS)


@pytest.mark.parametrize("format", GGML, ids=lambda f: f.name)
def test_sizes_and_numbers_are_ggmls(format):
    theirs = gguf.GGMLQuantizationType[format.name]
    assert format.number == theirs
    assert (format.block, format.block_bytes) == gguf.GGML_QUANT_SIZES[theirs]
    assert BY_NAME[format.name] is format


def d4_by_hand(row: bytes, groups: int) -> list[float]:
    """One number after another, from the layout as docs describe it."""
    half = np.frombuffer(row[16 * groups :][:2], np.float16)[0].astype(np.float32) * np.float32(2**-14)
    numbers = []
    for column in range(32 * groups):
        group, place = divmod(column, 32)
        byte = row[place // 16 * 8 * groups + 8 * group + place % 8]
        level = IQ4_VALUES[byte >> 4 if place % 16 >= 8 else byte & 15]
        scale = np.frombuffer(row[16 * groups + 2 + group :][:1], np.int8)[0]
        numbers.append(half * np.float32(scale) * level)
    return numbers


def d8_by_hand(row: bytes, groups: int) -> list[float]:
    half = np.frombuffer(row[32 * groups :][:2], np.float16)[0].astype(np.float32) * np.float32(2**-14)
    numbers = []
    for column in range(32 * groups):
        group, place = divmod(column, 32)
        level = np.frombuffer(row[place // 8 * 8 * groups + 8 * group + place % 8 :][:1], np.int8)[0]
        numbers.append(half * np.float32(row[32 * groups + 2 + group]) * np.float32(level))
    return numbers


@pytest.mark.parametrize(("format", "by_hand"), [(D4, d4_by_hand), (D8, d8_by_hand)], ids=["D4", "D8"])
@given(st.integers(1, 8), st.data())
def test_any_chunk_of_our_own_decodes_as_by_hand(format, by_hand, groups, data):
    size = format.nbytes((32 * groups,))
    row = data.draw(st.binary(min_size=size, max_size=size))
    with np.errstate(all="ignore"):
        expected = np.array(by_hand(row, groups), np.float32)
    np.testing.assert_array_equal(format.decode(np.frombuffer(row, np.uint8), 32 * groups), expected)


@pytest.mark.parametrize("format", OWN, ids=lambda f: f.name)
def test_rows_of_our_own_are_chunks_side_by_side(format):
    rng = np.random.default_rng(3)
    whole, rest = format.nbytes((256,)), format.nbytes((64,))
    rows = rng.integers(0, 120, (3, 2 * whole + rest), dtype=np.uint8)
    numbers = format.decode(rows.reshape(-1), 576).reshape(3, 576)
    for row, got in zip(rows, numbers, strict=True):
        np.testing.assert_array_equal(got[256:512], format.decode(row[whole : 2 * whole]))
        np.testing.assert_array_equal(got[512:], format.decode(row[2 * whole :], 64))
    assert format.nbytes((3, 576)) == rows.size


@given(st.sampled_from(OWN), st.integers(1, 5000))
def test_the_bytes_of_a_row_tell_its_length(format, row_bytes):
    columns = format.columns_of(row_bytes)
    assert columns % 32 == 0
    assert not columns or format.nbytes((columns,)) == row_bytes
    assert format.columns_of(format.nbytes((32 * row_bytes,))) == 32 * row_bytes


def test_bits_of_a_weight():
    assert (D4.bits, D8.bits, Q4_K.bits) == (4.3125, 8.3125, 4.5)

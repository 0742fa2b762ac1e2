"""Stored blocks to float32: one function for each format, (n, block_bytes) uint8 -> (n, block) float32.

Layouts: ggml's ggml-common.h (`block_q4_0` ... `block_mxfp4`); F8: OCP 8-bit floating point, E4M3; MXFP4: OCP
Microscaling 1.0. Products and sums are taken in the order of ggml's own `dequantize_row_*`, so that results are
bit-equal to it, infinities and NaN included.
"""

import functools

import numpy as np

IQ4_VALUES = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)
E2M1_DOUBLED = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)


def f32(blocks: np.ndarray) -> np.ndarray:
    return blocks.view(np.float32)


def f16(blocks: np.ndarray) -> np.ndarray:
    return blocks.view(np.float16).astype(np.float32)


def bf16(blocks: np.ndarray) -> np.ndarray:
    return (blocks.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def f8_e4m3(blocks: np.ndarray) -> np.ndarray:
    return _f8_values()[blocks]


def q4_0(blocks: np.ndarray) -> np.ndarray:
    return f16(blocks[:, :2]) * _signed(_nibbles(blocks[:, 2:]), 8)


def q4_1(blocks: np.ndarray) -> np.ndarray:
    return f16(blocks[:, :2]) * _nibbles(blocks[:, 4:]).astype(np.float32) + f16(blocks[:, 2:4])


def q5_0(blocks: np.ndarray) -> np.ndarray:
    quants = _nibbles(blocks[:, 6:]) | _bit_of_each(blocks[:, 2:6]) << 4
    return f16(blocks[:, :2]) * _signed(quants, 16)


def q5_1(blocks: np.ndarray) -> np.ndarray:
    quants = _nibbles(blocks[:, 8:]) | _bit_of_each(blocks[:, 4:8]) << 4
    return f16(blocks[:, :2]) * quants.astype(np.float32) + f16(blocks[:, 2:4])


def q8_0(blocks: np.ndarray) -> np.ndarray:
    return blocks[:, 2:].view(np.int8).astype(np.float32) * f16(blocks[:, :2])


def q2_k(blocks: np.ndarray) -> np.ndarray:
    scales = f16(blocks[:, 80:82]) * (blocks[:, :16] & 15).astype(np.float32)
    minima = f16(blocks[:, 82:84]) * (blocks[:, :16] >> 4).astype(np.float32)
    quants = _fields(blocks[:, 16:80], 32, 2)
    return _groups(scales, quants) - np.repeat(minima, 16, axis=1)


def q3_k(blocks: np.ndarray) -> np.ndarray:
    scales = f16(blocks[:, 108:110]) * _signed(_q3_scales(blocks[:, 96:108]), 32)
    high = _fields(blocks[:, :32], 32, 1)
    quants = _fields(blocks[:, 32:96], 32, 2) | high << 2
    return _groups(scales, _signed(quants, 4))


def q4_k(blocks: np.ndarray) -> np.ndarray:
    return _scaled_less_minimum(blocks, _fields(blocks[:, 16:144], 32, 4))


def q5_k(blocks: np.ndarray) -> np.ndarray:
    return _scaled_less_minimum(blocks, _fields(blocks[:, 48:176], 32, 4) | _fields(blocks[:, 16:48], 32, 1) << 4)


def q6_k(blocks: np.ndarray) -> np.ndarray:
    scales = f16(blocks[:, 208:210]) * blocks[:, 192:208].view(np.int8).astype(np.float32)
    quants = _fields(blocks[:, :128], 64, 4) | _fields(blocks[:, 128:192], 32, 2) << 4
    return _groups(scales, _signed(quants, 32))


def iq4_nl(blocks: np.ndarray) -> np.ndarray:
    return f16(blocks[:, :2]) * IQ4_VALUES[_nibbles(blocks[:, 2:])]


def iq4_xs(blocks: np.ndarray) -> np.ndarray:
    low = np.stack([blocks[:, 4:8] & 15, blocks[:, 4:8] >> 4], axis=-1).reshape(-1, 8)
    high = blocks[:, 2:4].view(np.uint16) >> np.arange(0, 16, 2, dtype=np.uint16) & 3
    scales = f16(blocks[:, :2]) * _signed(low | high.astype(np.uint8) << 4, 32)
    return _groups(scales, IQ4_VALUES[_fields(blocks[:, 8:136], 16, 4)])


def mxfp4(blocks: np.ndarray) -> np.ndarray:
    return _half_power_of_two(blocks[:, :1]) * E2M1_DOUBLED[_nibbles(blocks[:, 1:])]


def d4(chunks: np.ndarray) -> np.ndarray:
    """(n, 17 G + 2) -> (n, 32 G): G groups of 32 numbers, 8 of them or those that a row has left at its end.

    Two planes of 8 G bytes: byte 8 g + i of plane k holds numbers 16 k + i (low nibble) and 16 k + 8 + i of group g,
    both as indices into `IQ4_VALUES`. Then a float16, and an int8 for each group.
    number = (half * 2^-14 * int8) * level
    """
    groups = chunks.shape[1] // 17
    planes = chunks[:, : 16 * groups].reshape(len(chunks), 2, groups, 8)
    indices = np.stack([planes & 15, planes >> 4], axis=2).transpose(0, 3, 1, 2, 4)
    scales = _own_scales(chunks[:, 16 * groups :], np.int8)
    return _groups(scales, IQ4_VALUES[indices.reshape(len(chunks), 32 * groups)])


def d8(chunks: np.ndarray) -> np.ndarray:
    """(n, 33 G + 2) -> (n, 32 G). Four planes of 8 G bytes: byte 8 g + i of plane k is number 8 k + i of group g, int8.

    Then a float16, and a uint8 for each group.
    number = (half * 2^-14 * uint8) * int8
    """
    groups = chunks.shape[1] // 33
    planes = chunks[:, : 32 * groups].view(np.int8).reshape(len(chunks), 4, groups, 8)
    levels = planes.transpose(0, 2, 1, 3).reshape(len(chunks), 32 * groups)
    return _groups(_own_scales(chunks[:, 32 * groups :], np.uint8), levels)


def _own_scales(tail: np.ndarray, dtype: type) -> np.ndarray:
    half = f16(np.ascontiguousarray(tail[:, :2])) * np.float32(2**-14)
    return half * np.ascontiguousarray(tail[:, 2:]).view(dtype).astype(np.float32)


def _nibbles(packed: np.ndarray) -> np.ndarray:
    """All low halves, then all high halves."""
    return np.concatenate([packed & 15, packed >> 4], axis=1)


def _fields(packed: np.ndarray, run: int, bits: int) -> np.ndarray:
    """Each run of `run` bytes gives its lowest `bits` bits in order, then the next higher ones, and so on."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    spread = packed.reshape(len(packed), -1, 1, run) >> shifts & np.uint8((1 << bits) - 1)
    return spread.reshape(len(packed), packed.shape[1] * 8 // bits)


def _bit_of_each(packed: np.ndarray) -> np.ndarray:
    return np.unpackbits(packed, axis=1, bitorder="little")


def _signed(quants: np.ndarray, zero: int) -> np.ndarray:
    return (quants.view(np.int8) - np.int8(zero)).astype(np.float32)


def _groups(scales: np.ndarray, quants: np.ndarray) -> np.ndarray:
    """(n, groups) float32 times (n, groups * m) quants, each scale over its own m."""
    spread = scales[:, :, None] * quants.reshape(*scales.shape, -1).astype(np.float32, copy=False)
    return spread.reshape(quants.shape)


def _q3_scales(packed: np.ndarray) -> np.ndarray:
    """Sixteen 6-bit scales: low nibbles in bytes 0..7, upper pairs of bits in bytes 8..11."""
    return _nibbles(packed[:, :8]) | _fields(packed[:, 8:12], 4, 2) << 4


def _scaled_less_minimum(blocks: np.ndarray, quants: np.ndarray) -> np.ndarray:
    """Q4_K and Q5_K: eight groups of 32, each with a 6-bit scale and a 6-bit minimum, packed in bytes 4..15."""
    first, second, rest = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    six = np.concatenate([first & 63, rest & 15 | (first >> 6) << 4], axis=1)
    six_minima = np.concatenate([second & 63, rest >> 4 | (second >> 6) << 4], axis=1)
    scales = f16(blocks[:, :2]) * six.astype(np.float32)
    minima = f16(blocks[:, 2:4]) * six_minima.astype(np.float32)
    return _groups(scales, quants) - np.repeat(minima, 32, axis=1)


def _half_power_of_two(exponents: np.ndarray) -> np.ndarray:
    """2^(e - 128): half of E8M0's value, because `E2M1_DOUBLED` is twice E2M1's; the smallest two are subnormal."""
    wide = exponents.astype(np.uint32)
    return np.where(wide < 2, np.uint32(0x200000) << wide, (wide - np.uint32(1)) << 23).view(np.float32)


@functools.cache
def _f8_values() -> np.ndarray:
    """All 256 values: bias 7, no infinities, NaN where exponent and mantissa are all ones."""
    byte = np.arange(128)
    exponent, mantissa = byte >> 3, byte & 7
    value = np.where(exponent == 0, np.ldexp(mantissa / 8, -6), np.ldexp(1 + mantissa / 8, exponent - 7))
    value[127] = np.nan
    return np.concatenate([value, np.negative(value)]).astype(np.float32)

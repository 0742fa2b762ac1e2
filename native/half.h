#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

// IEEE binary16 by plain arithmetic; internal linkage, since files of every instruction set include this.
namespace {

constexpr float most_half = 65504.0f;

inline float bits_to_float(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// Exponent 0 holds mantissa * 2^-24; exponent 31 infinities and NaN.
inline float half_to_float(uint16_t h) {
    uint32_t sign = (h & 0x8000u) << 16, rest = h & 0x7fffu;
    uint32_t normal = (rest << 13) + ((rest >= 0x7c00 ? 224u : 112u) << 23);
    float small = static_cast<float>(rest) * 0x1p-24f;
    uint32_t small_bits;
    std::memcpy(&small_bits, &small, sizeof small);
    return bits_to_float(sign | (rest < 0x400 ? small_bits : normal));
}

// To the nearest, ties to even, of finite numbers from 0 to most_half.
inline uint16_t half_of(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (value < 0x1p-14f) return static_cast<uint16_t>(std::nearbyint(value * 0x1p24f));
    uint32_t rounded = bits + 0xfff + (bits >> 13 & 1);
    return static_cast<uint16_t>((rounded >> 13) - (112u << 10));
}

}  // namespace

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

// binary16 by plain arithmetic, of its own in each file that includes it.
namespace {

constexpr float most_half = 65504.0f;

// To the nearest, ties to even, of finite numbers from 0 to most_half.
inline uint16_t to_half(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (value < 0x1p-14f) return static_cast<uint16_t>(std::nearbyint(value * 0x1p24f));
    uint32_t rounded = bits + 0xfff + (bits >> 13 & 1);
    return static_cast<uint16_t>((rounded >> 13) - (112u << 10));
}

inline float from_half(uint16_t half) {
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    return exponent ? std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25) : std::ldexp(static_cast<float>(mantissa), -24);
}

}  // namespace

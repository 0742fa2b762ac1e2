#pragma once

#include <cstdint>
#include <cstring>

#include "half.h"
#include "linear.h"

// The stored block formats (ggml-common.h describes the same layouts), each as the canonical a, b, u of linear.h for
// one chunk of 256 columns: one super-block, or eight blocks of 32. Included by every instruction set's own file: all
// names have internal linkage, and the plain loops become that instruction set's vectors.
namespace {

using Word = uint32_t __attribute__((may_alias));  // any 32 bits: a float, or four bytes

template <class T>
inline T load(const uint8_t* p) {
    T value;
    std::memcpy(&value, p, sizeof value);
    return value;
}

// OCP FP8 e4m3fn: exponent 0 holds mantissa * 2^-9; 0x7f and 0xff are NaN, there is no infinity.
inline float f8_to_float(uint8_t x) {
    uint32_t sign = (x & 0x80u) << 24, rest = x & 0x7fu;
    float small = static_cast<float>(rest) * 0x1p-9f;
    uint32_t small_bits;
    std::memcpy(&small_bits, &small, sizeof small);
    uint32_t normal = rest == 0x7f ? 0x7fc00000u : (rest << 20) + (120u << 23);
    return bits_to_float(sign | (rest < 8 ? small_bits : normal));
}

inline float load_half(const uint8_t* p) { return half_to_float(load<uint16_t>(p)); }

// OCP MX e8m0, halved because the 4-bit table below holds doubled values.
inline float half_power_of_two(uint8_t e) {
    return bits_to_float(e < 2 ? 0x00200000u << e : static_cast<uint32_t>(e - 1) << 23);
}

constexpr uint8_t iq4_values[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};  // + 128
constexpr uint8_t mx_values[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};                  // + 12

// The 8 scales and 8 minima of Q4_K and Q5_K, 6 bits each in 12 bytes, as bytes.
struct SixBits {
    uint64_t scales, minima;
};
inline SixBits six_bits(const uint8_t* p) {
    uint32_t a = load<uint32_t>(p), b = load<uint32_t>(p + 4), c = load<uint32_t>(p + 8);
    uint64_t scales_high = (c & 0x0f0f0f0fu) | ((a >> 2) & 0x30303030u);
    uint64_t minima_high = ((c >> 4) & 0x0f0f0f0fu) | ((b >> 2) & 0x30303030u);
    return {(a & 0x3f3f3f3fu) | scales_high << 32, (b & 0x3f3f3f3fu) | minima_high << 32};
}

// Nibbles of 16 bytes: the low ones are columns 0 to 15, the high ones 16 to 31.
inline void nibbles16(const uint8_t* p, uint8_t* u) {
    for (int i = 0; i < 16; ++i) u[i] = p[i] & 15;
    for (int i = 0; i < 16; ++i) u[16 + i] = p[i] >> 4;
}

// group: columns that share a and b. zero: see linear.h; formats with `offset` use b instead.
template <Format> struct Blocks;

template <int Bytes, int Zero, bool Offset = false>
struct Shape32 {
    static constexpr int columns = 32, bytes = Bytes, chunk_bytes = 8 * Bytes, group = 32, zero = Zero;
    static constexpr bool offset = Offset;
};
template <int Bytes, int Group, int Zero, bool Offset = false>
struct Shape256 {
    static constexpr int columns = 256, bytes = Bytes, chunk_bytes = Bytes, group = Group, zero = Zero;
    static constexpr bool offset = Offset;
};

template <> struct Blocks<Format::Q4_0> : Shape32<18, 8> {
    static void scales(const uint8_t* p, float* a, float*) {
        for (int i = 0; i < 8; ++i) a[i] = load_half(p + i * bytes);
    }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int i = 0; i < 8; ++i) nibbles16(p + i * bytes + 2, u + 32 * i);
    }
};

template <> struct Blocks<Format::Q4_1> : Shape32<20, 0, true> {
    static void scales(const uint8_t* p, float* a, float* b) {
        for (int i = 0; i < 8; ++i) a[i] = load_half(p + i * bytes), b[i] = load_half(p + i * bytes + 2);
    }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int i = 0; i < 8; ++i) nibbles16(p + i * bytes + 4, u + 32 * i);
    }
};

inline void fifth_bits(uint32_t bits, uint8_t* u) {
    for (int i = 0; i < 32; ++i) u[i] |= (bits >> i & 1) << 4;
}

template <> struct Blocks<Format::Q5_0> : Shape32<22, 16> {
    static void scales(const uint8_t* p, float* a, float*) {
        for (int i = 0; i < 8; ++i) a[i] = load_half(p + i * bytes);
    }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int i = 0; i < 8; ++i, p += bytes, u += 32) nibbles16(p + 6, u), fifth_bits(load<uint32_t>(p + 2), u);
    }
};

template <> struct Blocks<Format::Q5_1> : Shape32<24, 0, true> {
    static void scales(const uint8_t* p, float* a, float* b) {
        for (int i = 0; i < 8; ++i) a[i] = load_half(p + i * bytes), b[i] = load_half(p + i * bytes + 2);
    }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int i = 0; i < 8; ++i, p += bytes, u += 32) nibbles16(p + 8, u), fifth_bits(load<uint32_t>(p + 4), u);
    }
};

template <> struct Blocks<Format::Q8_0> : Shape32<34, 128> {
    static void scales(const uint8_t* p, float* a, float*) {
        for (int i = 0; i < 8; ++i) a[i] = load_half(p + i * bytes);
    }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int i = 0; i < 8; ++i)
            for (int j = 0; j < 32; ++j) u[32 * i + j] = p[i * bytes + 2 + j] ^ 0x80;
    }
};

template <> struct Blocks<Format::IQ4_NL> : Shape32<18, 128> {
    static void scales(const uint8_t* p, float* a, float*) {
        for (int i = 0; i < 8; ++i) a[i] = load_half(p + i * bytes);
    }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int i = 0; i < 8; ++i) nibbles16(p + i * bytes + 2, u + 32 * i);
        for (int i = 0; i < 256; ++i) u[i] = iq4_values[u[i]];
    }
};

template <> struct Blocks<Format::MXFP4> : Shape32<17, 12> {
    static void scales(const uint8_t* p, float* a, float*) {
        for (int i = 0; i < 8; ++i) a[i] = half_power_of_two(p[i * bytes]);
    }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int i = 0; i < 8; ++i) nibbles16(p + i * bytes + 1, u + 32 * i);
        for (int i = 0; i < 256; ++i) u[i] = mx_values[u[i]];
    }
};

template <> struct Blocks<Format::Q2_K> : Shape256<84, 16, 0, true> {  // scales 16, quants 64, d, dmin
    static void scales(const uint8_t* p, float* a, float* b) {
        float d = load_half(p + 80), minimum = load_half(p + 82);
        for (int i = 0; i < 16; ++i) a[i] = d * static_cast<float>(p[i] & 15), b[i] = -(minimum * static_cast<float>(p[i] >> 4));
    }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int i = 0; i < 256; i += 32)
            for (int j = 0; j < 32; ++j) u[i + j] = p[16 + i / 128 * 32 + j] >> (i / 32 % 4 * 2) & 3;
    }
};

// The 16 six-bit scales of Q3_K as bytes 0 to 63 (less 32 when used): low nibbles in 8 bytes, high pairs in 4.
inline void q3_scales(const uint8_t* p, uint8_t* s) {
    uint64_t low = load<uint64_t>(p), high = load<uint32_t>(p + 8);
    uint64_t pairs_low = (high & 0x03030303u) | (high >> 2 & 0x03030303u) << 32;
    uint64_t pairs_high = (high >> 4 & 0x03030303u) | (high >> 6 & 0x03030303u) << 32;
    uint64_t both[2] = {(low & 0x0f0f0f0f0f0f0f0full) | pairs_low << 4, (low >> 4 & 0x0f0f0f0f0f0f0f0full) | pairs_high << 4};
    std::memcpy(s, both, 16);
}

template <> struct Blocks<Format::Q3_K> : Shape256<110, 16, 4> {  // third bits 32, quants 64, scales 12, d
    static void scales(const uint8_t* p, float* a, float*) {
        uint8_t s[16];
        q3_scales(p + 96, s);
        float d = load_half(p + 108);
        for (int i = 0; i < 16; ++i) a[i] = d * static_cast<float>(s[i] - 32);
    }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int i = 0; i < 256; i += 32)
            for (int j = 0; j < 32; ++j)
                u[i + j] = (p[32 + i / 128 * 32 + j] >> (i / 32 % 4 * 2) & 3) | (p[j] >> (i / 32) & 1) << 2;
    }
};

inline void k_scales(const uint8_t* p, float* a, float* b) {
    float d = load_half(p), minimum = load_half(p + 2);
    SixBits s = six_bits(p + 4);
    for (int i = 0; i < 8; ++i) {
        a[i] = d * static_cast<float>(s.scales >> (8 * i) & 63);
        b[i] = -(minimum * static_cast<float>(s.minima >> (8 * i) & 63));
    }
}

template <> struct Blocks<Format::Q4_K> : Shape256<144, 32, 0, true> {  // d, dmin, scales 12, quants 128
    static void scales(const uint8_t* p, float* a, float* b) { k_scales(p, a, b); }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int i = 0; i < 4; ++i, u += 64) {
            for (int j = 0; j < 32; ++j) u[j] = p[16 + 32 * i + j] & 15;
            for (int j = 0; j < 32; ++j) u[32 + j] = p[16 + 32 * i + j] >> 4;
        }
    }
};

template <> struct Blocks<Format::Q5_K> : Shape256<176, 32, 0, true> {  // d, dmin, scales 12, fifth bits 32, quants 128
    static void scales(const uint8_t* p, float* a, float* b) { k_scales(p, a, b); }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int i = 0; i < 4; ++i, u += 64) {
            for (int j = 0; j < 32; ++j) u[j] = (p[48 + 32 * i + j] & 15) | (p[16 + j] >> (2 * i) & 1) << 4;
            for (int j = 0; j < 32; ++j) u[32 + j] = p[48 + 32 * i + j] >> 4 | (p[16 + j] >> (2 * i + 1) & 1) << 4;
        }
    }
};

template <> struct Blocks<Format::Q6_K> : Shape256<210, 16, 32> {  // low nibbles 128, high pairs 64, scales 16, d
    static void scales(const uint8_t* p, float* a, float*) {
        float d = load_half(p + 208);
        for (int i = 0; i < 16; ++i) a[i] = d * static_cast<float>(static_cast<int8_t>(p[192 + i]));
    }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int i = 0; i < 256; i += 32) {
            const uint8_t *low = p + i / 128 * 64 + i / 32 % 2 * 32, *high = p + 128 + i / 128 * 32;
            int nibble = i / 64 % 2 * 4, pair = i / 32 % 4 * 2;
            for (int j = 0; j < 32; ++j) u[i + j] = (low[j] >> nibble & 15) | (high[j] >> pair & 3) << 4;
        }
    }
};

template <> struct Blocks<Format::IQ4_XS> : Shape256<136, 32, 128> {  // d, high pairs 2, low nibbles 4, quants 128
    static void scales(const uint8_t* p, float* a, float*) {
        float d = load_half(p);
        uint16_t high = load<uint16_t>(p + 2);
        for (int i = 0; i < 8; ++i) {
            int s = (p[4 + i / 2] >> (i % 2 * 4) & 15) | (high >> (2 * i) & 3) << 4;
            a[i] = d * static_cast<float>(s - 32);
        }
    }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int i = 0; i < 8; ++i) nibbles16(p + 8 + 16 * i, u + 32 * i);
        for (int i = 0; i < 256; ++i) u[i] = iq4_values[u[i]];
    }
};

template <class B>
inline const uint8_t* padded_chunk(const uint8_t* p, int64_t columns_left, uint8_t* copy) {
    int64_t bytes = columns_left / B::columns * B::bytes;
    std::memcpy(copy, p, bytes);
    std::memset(copy + bytes, 0, B::chunk_bytes - bytes);
    return copy;
}

// The chunk at p, or where fewer than 256 columns are left a copy of them followed by zeros: no read leaves the row.
template <class B>
inline const uint8_t* whole_chunk(const uint8_t* p, int64_t columns_left, uint8_t* copy) {
    if (columns_left >= chunk_cols) return p;
    if constexpr (requires { B::spread(p, columns_left, copy); }) {
        B::spread(p, columns_left / B::columns, copy);
        return copy;
    } else {
        return padded_chunk<B>(p, columns_left, copy);
    }
}

template <class B>
inline int groups_of(int64_t columns_left) {
    return static_cast<int>(columns_left < chunk_cols ? columns_left : chunk_cols) / B::group;
}

}  // namespace

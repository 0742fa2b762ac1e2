#pragma once

#include <immintrin.h>

#include "words.avx512.h"

// The block formats as 512-bit vectors. scales() gives a and b of a chunk in 16 lanes: one for each group of 16, two for
// each group of 32. quants(p, j) gives the 64 unsigned quants of columns 64 j to 64 j + 63, quads() the 256 of a chunk with
// 8 columns of every group of 32 in a vector: 0 to 7 of each, then 8 to 15, 16 to 23, 24 to 31. Bits that shifts carry over
// from the next byte are masked off.
namespace {

// Where a chunk's q holds a column: 8 of each group of 32 in a vector, as quads() has them.
constexpr int column_place(int column) { return column % 32 / 8 * 64 + column / 32 * 8 + column % 8; }

// Adapts the vector form to the arrays that tiles are unpacked from.
template <class V, class Shape>
struct Vectors : Shape {
    static void scales(const uint8_t* p, float* a, float* b) {
        Scales s = V::scales(p);
        store(s.a, a);
        if constexpr (Shape::offset) store(s.b, b);
    }
    static void store(__m512 v, float* out) {
        const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14);
        _mm512_storeu_ps(out, Shape::group == 32 ? _mm512_permutexvar_ps(even, v) : v);
    }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int j = 0; j < 4; ++j) _mm512_storeu_si512(u + 64 * j, V::quants(p, j));
    }
};

// From vectors of 64 columns in their own order.
template <class V>
inline void quads_of(const uint8_t* p, __m512i* u) {
    const __m512i first = _mm512_setr_epi64(0, 4, 8, 12, 1, 5, 9, 13), second = _mm512_setr_epi64(2, 6, 10, 14, 3, 7, 11, 15);
    __m512i q[4];
    for (int j = 0; j < 4; ++j) q[j] = V::quants(p, j);
    __m512i a = _mm512_permutex2var_epi64(q[0], first, q[1]), b = _mm512_permutex2var_epi64(q[2], first, q[3]);
    __m512i c = _mm512_permutex2var_epi64(q[0], second, q[1]), d = _mm512_permutex2var_epi64(q[2], second, q[3]);
    u[0] = _mm512_shuffle_i64x2(a, b, 0x44), u[1] = _mm512_shuffle_i64x2(a, b, 0xee);
    u[2] = _mm512_shuffle_i64x2(c, d, 0x44), u[3] = _mm512_shuffle_i64x2(c, d, 0xee);
}

template <Format> struct Wide;

template <> struct Wide<Format::Q4_0> : Shape32<18, 8> {
    static Scales scales(const uint8_t* p) { return first_halves18(p); }
    static __m512i quants(const uint8_t* p, int j) { return nibbles(p + 36 * j + 2, p + 36 * j + 20); }
    static void quads(const uint8_t* p, __m512i* u) { nibble_quads18(p, u); }
};

template <> struct Wide<Format::Q4_1> : Shape32<20, 0, true> {
    static Scales scales(const uint8_t* p) { return first_pairs<10>(p); }
    static __m512i quants(const uint8_t* p, int j) { return nibbles(p + 40 * j + 4, p + 40 * j + 24); }
    static void quads(const uint8_t* p, __m512i* u) { nibble_quads<10, 2>(p, u); }
};

inline __m512i with_fifth_bits(__m512i u, const uint8_t* p, const uint8_t* q) {
    __mmask64 bits = load<uint32_t>(p) | static_cast<uint64_t>(load<uint32_t>(q)) << 32;
    return _mm512_mask_add_epi8(u, bits, u, _mm512_set1_epi8(16));
}

template <> struct Wide<Format::Q5_0> : Shape32<22, 16> {
    static Scales scales(const uint8_t* p) { return first_halves<11>(p); }
    static void quads(const uint8_t* p, __m512i* u) { quads_of<Wide>(p, u); }
    static __m512i quants(const uint8_t* p, int j) {
        p += 44 * j;
        return with_fifth_bits(nibbles(p + 6, p + 28), p + 2, p + 24);
    }
};

template <> struct Wide<Format::Q5_1> : Shape32<24, 0, true> {
    static Scales scales(const uint8_t* p) { return first_pairs<12>(p); }
    static void quads(const uint8_t* p, __m512i* u) { quads_of<Wide>(p, u); }
    static __m512i quants(const uint8_t* p, int j) {
        p += 48 * j;
        return with_fifth_bits(nibbles(p + 8, p + 32), p + 4, p + 28);
    }
};

template <> struct Wide<Format::Q8_0> : Shape32<34, 128> {
    static Scales scales(const uint8_t* p) { return {twice(eight_halves<34>(p)), _mm512_setzero_ps()}; }
    static void quads(const uint8_t* p, __m512i* u) { quads_of<Wide>(p, u); }
    static __m512i quants(const uint8_t* p, int j) {
        __m512i q = _mm512_mask_broadcast_i64x4(_mm512_castsi256_si512(load32(p + 68 * j + 2)), 0xf0, load32(p + 68 * j + 36));
        return _mm512_xor_si512(q, _mm512_set1_epi8(-128));
    }
};

inline __m512i look_up(const uint8_t* table, __m512i u) { return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(load16(table)), u); }

template <> struct Wide<Format::IQ4_NL> : Shape32<18, 128> {
    static Scales scales(const uint8_t* p) { return first_halves18(p); }
    static void quads(const uint8_t* p, __m512i* u) {
        nibble_quads18(p, u);
        for (int k = 0; k < 4; ++k) u[k] = look_up(iq4_values, u[k]);
    }
    static __m512i quants(const uint8_t* p, int j) { return look_up(iq4_values, nibbles(p + 36 * j + 2, p + 36 * j + 20)); }
};

template <> struct Wide<Format::MXFP4> : Shape32<17, 12> {
    static Scales scales(const uint8_t* p) {
        alignas(32) float a[8];
        for (int i = 0; i < 8; ++i) a[i] = half_power_of_two(p[17 * i]);
        return {twice(_mm256_load_ps(a)), _mm512_setzero_ps()};
    }
    static void quads(const uint8_t* p, __m512i* u) { quads_of<Wide>(p, u); }
    static __m512i quants(const uint8_t* p, int j) { return look_up(mx_values, nibbles(p + 34 * j + 1, p + 34 * j + 18)); }
};

template <> struct Wide<Format::Q2_K> : Shape256<84, 16, 0, true> {
    static Scales scales(const uint8_t* p) {
        __m128i s = load16(p), low = _mm_set1_epi8(15);
        return {_mm512_mul_ps(bytes_to_floats(_mm_and_si128(s, low)), _mm512_set1_ps(half(p + 80))),
                _mm512_mul_ps(bytes_to_floats(_mm_and_si128(_mm_srli_epi16(s, 4), low)), _mm512_set1_ps(-half(p + 82)))};
    }
    static void quads(const uint8_t* p, __m512i* u) { quads_of<Wide>(p, u); }
    static __m512i quants(const uint8_t* p, int j) { return planes(p + 16 + j / 2 * 32, j % 2 * 4, j % 2 * 4 + 2, 3, 0); }
};

template <> struct Wide<Format::Q3_K> : Shape256<110, 16, 4> {
    static Scales scales(const uint8_t* p) {
        uint8_t s[16];
        q3_scales(p + 96, s);
        __m512i centred = _mm512_sub_epi32(_mm512_cvtepu8_epi32(load16(s)), _mm512_set1_epi32(32));
        return {_mm512_mul_ps(_mm512_cvtepi32_ps(centred), _mm512_set1_ps(half(p + 108))), _mm512_setzero_ps()};
    }
    static void quads(const uint8_t* p, __m512i* u) { quads_of<Wide>(p, u); }
    static __m512i quants(const uint8_t* p, int j) {
        return _mm512_or_si512(planes(p + 32 + j / 2 * 32, j % 2 * 4, j % 2 * 4 + 2, 3, 0), planes(p, 2 * j, 2 * j + 1, 1, 2));
    }
};

inline Scales wide_k_scales(const uint8_t* p) {
    SixBits six = six_bits(p + 4);
    __m512 s = bytes_to_floats(_mm_set_epi64x(static_cast<int64_t>(six.minima), static_cast<int64_t>(six.scales)));
    __m512 both = _mm512_castps128_ps512(_mm_cvtph_ps(_mm_cvtsi32_si128(load<int32_t>(p) ^ INT32_MIN)));  // d, -dmin
    const __m512i scales = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    const __m512i minima = _mm512_setr_epi32(8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15);
    return {_mm512_mul_ps(_mm512_permutexvar_ps(scales, s), _mm512_broadcastss_ps(_mm512_castps512_ps128(both))),
            _mm512_mul_ps(_mm512_permutexvar_ps(minima, s), _mm512_permutexvar_ps(_mm512_set1_epi32(1), both))};
}

// The same of R rows, for quads(): b holds zeros and then the minima, once each, and a of odd groups is `odd` times itself.
template <int R>
inline void k_row_scales(const uint8_t* const* p, float odd, Scales* s) {
    __m512i rows = _mm512_castsi128_si512(load16(p[0]));  // a lane each, whose words are d and dmin, then three of six bits each
    for (int r = 1; r < R; ++r) rows = _mm512_mask_broadcast_i32x4(rows, static_cast<__mmask16>(15 << 4 * r), load16(p[r]));
    const __m512i shifts = _mm512_set4_epi32(4, 0, 0, 0), low = _mm512_set4_epi32(0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f);
    const __m512i high = _mm512_set4_epi32(0x30303030, 0, 0x30303030, 0);
    __m512i nibbles = _mm512_srlv_epi32(_mm512_shuffle_epi32(rows, _MM_PERM_DCDB), shifts);
    __m512i pairs = _mm512_srli_epi32(_mm512_shuffle_epi32(rows, _MM_PERM_CCBB), 2);
    alignas(64) uint8_t bytes[64];
    _mm512_store_si512(bytes, _mm512_or_si512(_mm512_and_si512(nibbles, low), _mm512_and_si512(pairs, high)));
    const __m512i first = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
    __m128i halves = _mm_xor_si128(_mm512_castsi512_si128(_mm512_permutexvar_epi32(first, rows)), _mm_set1_epi32(INT32_MIN));
    __m256 units = _mm256_cvtph_ps(halves);  // d, -dmin of each row
    __m512 both = _mm512_insertf32x8(_mm512_castps256_ps512(units), _mm256_mul_ps(units, _mm256_set1_ps(odd)), 1);
    const __m512i which = _mm512_setr_epi32(0, 8, 0, 8, 0, 8, 0, 8, 1, 1, 1, 1, 1, 1, 1, 1);
    const __m512i doubled = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    for (int r = 0; r < R; ++r) {
        __m512 unit = _mm512_permutexvar_ps(_mm512_add_epi32(which, _mm512_set1_epi32(2 * r)), both);
        s[r].b = _mm512_mul_ps(bytes_to_floats(load16(bytes + 16 * r)), unit);
        s[r].a = _mm512_permutexvar_ps(doubled, s[r].b);
    }
}

template <class V>
constexpr bool minima_last = requires { V::odd; };

template <class V, int R>
inline void row_scales(const uint8_t* const* p, Scales* s) {
    if constexpr (minima_last<V>) k_row_scales<R>(p, V::odd, s);
    else
        for (int r = 0; r < R; ++r) s[r] = V::scales(p[r]);
}

// quads() leaves the high nibbles, which are the odd groups, where they are: 16 times as large, which `odd` takes back.
template <> struct Wide<Format::Q4_K> : Shape256<144, 32, 0, true> {
    static constexpr float odd = 1.0f / 16;
    static Scales scales(const uint8_t* p) { return wide_k_scales(p); }
    static __m512i quants(const uint8_t* p, int j) { return nibbles(p + 16 + 32 * j); }
    static void quads(const uint8_t* p, __m512i* u) {
        const __m512i pieces = _mm512_setr_epi64(0, 0, 4, 4, 8, 8, 12, 12), bits = _mm512_set4_epi32(-0x0f0f0f10, -0x0f0f0f10, 0x0f0f0f0f, 0x0f0f0f0f);
        __m512i a = load64(p + 16), b = load64(p + 80);
        for (int k = 0; k < 4; ++k)
            u[k] = _mm512_and_si512(_mm512_permutex2var_epi64(a, _mm512_add_epi64(pieces, _mm512_set1_epi64(k)), b), bits);
    }
};

template <> struct Wide<Format::Q5_K> : Shape256<176, 32, 0, true> {
    static constexpr float odd = 1;
    static Scales scales(const uint8_t* p) { return wide_k_scales(p); }
    static void quads(const uint8_t* p, __m512i* u) { quads_of<Wide>(p, u); }
    static __m512i quants(const uint8_t* p, int j) {
        return _mm512_or_si512(nibbles(p + 48 + 32 * j), planes(p + 16, 2 * j, 2 * j + 1, 1, 4));
    }
};

template <> struct Wide<Format::Q6_K> : Shape256<210, 16, 32> {
    static Scales scales(const uint8_t* p) {
        __m512 s = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load16(p + 192)));
        return {_mm512_mul_ps(s, _mm512_set1_ps(half(p + 208))), _mm512_setzero_ps()};
    }
    static void quads(const uint8_t* p, __m512i* u) {
        const __m512i lows = _mm512_setr_epi64(0, 4, 0, 4, 8, 12, 8, 12), highs = _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4);
        const __m512i nibble = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4), pair = _mm512_setr_epi64(60, 62, 0, 2, 60, 62, 0, 2);  // to bits 4, 5
        __m512i a = load64(p), b = load64(p + 64), c = load64(p + 128);
        for (int k = 0; k < 4; ++k) {
            __m512i step = _mm512_set1_epi64(k), low = _mm512_permutex2var_epi64(a, _mm512_add_epi64(lows, step), b);
            __m512i high = _mm512_rorv_epi64(_mm512_permutexvar_epi64(_mm512_add_epi64(highs, step), c), pair);
            low = _mm512_and_si512(_mm512_srlv_epi64(low, nibble), _mm512_set1_epi8(15));
            u[k] = _mm512_or_si512(low, _mm512_and_si512(high, _mm512_set1_epi8(48)));
        }
    }
    static __m512i quants(const uint8_t* p, int j) {
        __m512i low = _mm512_srli_epi64(load64(p + j / 2 * 64), j % 2 * 4);
        __m512i high = planes(p + 128 + j / 2 * 32, j % 2 * 4, j % 2 * 4 + 2, 3, 4);
        return _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi8(15)), high);
    }
};

template <> struct Wide<Format::IQ4_XS> : Shape256<136, 32, 128> {
    static Scales scales(const uint8_t* p) {
        const __m256i nibble = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28), pair = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
        __m256i low = _mm256_srlv_epi32(_mm256_set1_epi32(load<int32_t>(p + 4)), nibble);
        __m256i high = _mm256_srlv_epi32(_mm256_set1_epi32(load<uint16_t>(p + 2)), pair);
        __m256i s = _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)),
                                    _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(3)), 4));
        __m256 a = _mm256_cvtepi32_ps(_mm256_sub_epi32(s, _mm256_set1_epi32(32)));
        return {twice(_mm256_mul_ps(a, _mm256_set1_ps(half(p)))), _mm512_setzero_ps()};
    }
    static void quads(const uint8_t* p, __m512i* u) { quads_of<Wide>(p, u); }
    static __m512i quants(const uint8_t* p, int j) { return look_up(iq4_values, nibbles(p + 8 + 32 * j, p + 24 + 32 * j)); }
};

}  // namespace

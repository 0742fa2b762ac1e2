#pragma once

#include <immintrin.h>

#include "blocks.h"

// The block formats as 512-bit vectors: scales() gives a and b of a chunk in lanes (8 groups of 32, or 16 of 16), and
// quants(p, j) the 64 unsigned quants of columns 64 j to 64 j + 63. Only shifts by lane and byte logic are used, so that
// the permute unit stays free for spreading the scales; bits that shifts carry over from the next byte are masked off.
namespace {

struct Scales {
    __m512 a, b;
};

inline __m128i load16(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
inline __m256i load32(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline __m512i load64(const void* p) { return _mm512_loadu_si512(p); }

// 16 bytes at p to the lower half, 16 at q to the upper, each twice: low nibbles first, high nibbles second.
inline __m512i nibbles(const uint8_t* p, const uint8_t* q) {
    __m512i both = _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(load16(p)), 0xff00, load16(q));
    const __m512i shifts = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
    return _mm512_and_si512(_mm512_srlv_epi64(both, shifts), _mm512_set1_epi8(15));
}
// 32 bytes twice: low nibbles are the first 32 columns, high nibbles the next.
inline __m512i nibbles(const uint8_t* p) {
    const __m512i shifts = _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4);
    return _mm512_and_si512(_mm512_srlv_epi64(_mm512_broadcast_i64x4(load32(p)), shifts), _mm512_set1_epi8(15));
}
// Bits `low` of 32 bytes for the first 32 columns, bits `high` for the next, masked and moved `up`.
inline __m512i planes(const uint8_t* p, int low, int high, int mask, int up) {
    __m512i shifts = _mm512_inserti64x4(_mm512_set1_epi64(low), _mm256_set1_epi64x(high), 1);
    __m512i bits = _mm512_and_si512(_mm512_srlv_epi64(_mm512_broadcast_i64x4(load32(p)), shifts), _mm512_set1_epi8(mask));
    return _mm512_slli_epi64(bits, up);
}

// The 8 halves that stand at p, p + Stride, ...
template <int Stride>
inline __m512 halves(const uint8_t* p) {
    __m128i h = _mm_cvtsi32_si128(load<uint16_t>(p));
    h = _mm_insert_epi16(h, load<uint16_t>(p + 1 * Stride), 1);
    h = _mm_insert_epi16(h, load<uint16_t>(p + 2 * Stride), 2);
    h = _mm_insert_epi16(h, load<uint16_t>(p + 3 * Stride), 3);
    h = _mm_insert_epi16(h, load<uint16_t>(p + 4 * Stride), 4);
    h = _mm_insert_epi16(h, load<uint16_t>(p + 5 * Stride), 5);
    h = _mm_insert_epi16(h, load<uint16_t>(p + 6 * Stride), 6);
    h = _mm_insert_epi16(h, load<uint16_t>(p + 7 * Stride), 7);
    return _mm512_castps256_ps512(_mm256_cvtph_ps(h));
}
// The 8 pairs of halves that stand at p, p + Stride, ...: a and b.
template <int Stride>
inline Scales half_pairs(const uint8_t* p) {
    __m128i low = _mm_cvtsi32_si128(load<int32_t>(p)), high = _mm_cvtsi32_si128(load<int32_t>(p + 4 * Stride));
    low = _mm_insert_epi32(low, load<int32_t>(p + 1 * Stride), 1);
    low = _mm_insert_epi32(low, load<int32_t>(p + 2 * Stride), 2);
    low = _mm_insert_epi32(low, load<int32_t>(p + 3 * Stride), 3);
    high = _mm_insert_epi32(high, load<int32_t>(p + 5 * Stride), 1);
    high = _mm_insert_epi32(high, load<int32_t>(p + 6 * Stride), 2);
    high = _mm_insert_epi32(high, load<int32_t>(p + 7 * Stride), 3);
    __m128i a = _mm_blend_epi16(low, _mm_slli_epi32(high, 16), 0xaa), b = _mm_blend_epi16(_mm_srli_epi32(low, 16), high, 0xaa);
    const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    return {_mm512_castps256_ps512(_mm256_cvtph_ps(_mm_shuffle_epi8(a, order))),
            _mm512_castps256_ps512(_mm256_cvtph_ps(_mm_shuffle_epi8(b, order)))};
}
inline float half(const uint8_t* p) { return _cvtsh_ss(load<uint16_t>(p)); }
inline __m512 bytes_to_floats(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)); }

// Adapts the vector form to the arrays that tiles are unpacked from.
template <class V, class Shape>
struct Vectors : Shape {
    static void scales(const uint8_t* p, float* a, float* b) {
        Scales s = V::scales(p);
        _mm512_storeu_ps(a, s.a);
        if constexpr (Shape::offset) _mm512_storeu_ps(b, s.b);
    }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int j = 0; j < 4; ++j) _mm512_storeu_si512(u + 64 * j, V::quants(p, j));
    }
};

template <Format> struct Wide;

template <> struct Wide<Format::Q4_0> : Shape32<18, 8> {
    static Scales scales(const uint8_t* p) { return {halves<18>(p), _mm512_setzero_ps()}; }
    static __m512i quants(const uint8_t* p, int j) { return nibbles(p + 36 * j + 2, p + 36 * j + 20); }
};

template <> struct Wide<Format::Q4_1> : Shape32<20, 0, true> {
    static Scales scales(const uint8_t* p) { return half_pairs<20>(p); }
    static __m512i quants(const uint8_t* p, int j) { return nibbles(p + 40 * j + 4, p + 40 * j + 24); }
};

inline __m512i with_fifth_bits(__m512i u, const uint8_t* p, const uint8_t* q) {
    __mmask64 bits = load<uint32_t>(p) | static_cast<uint64_t>(load<uint32_t>(q)) << 32;
    return _mm512_mask_add_epi8(u, bits, u, _mm512_set1_epi8(16));
}

template <> struct Wide<Format::Q5_0> : Shape32<22, 16> {
    static Scales scales(const uint8_t* p) { return {halves<22>(p), _mm512_setzero_ps()}; }
    static __m512i quants(const uint8_t* p, int j) {
        p += 44 * j;
        return with_fifth_bits(nibbles(p + 6, p + 28), p + 2, p + 24);
    }
};

template <> struct Wide<Format::Q5_1> : Shape32<24, 0, true> {
    static Scales scales(const uint8_t* p) { return half_pairs<24>(p); }
    static __m512i quants(const uint8_t* p, int j) {
        p += 48 * j;
        return with_fifth_bits(nibbles(p + 8, p + 32), p + 4, p + 28);
    }
};

template <> struct Wide<Format::Q8_0> : Shape32<34, 128> {
    static Scales scales(const uint8_t* p) { return {halves<34>(p), _mm512_setzero_ps()}; }
    static __m512i quants(const uint8_t* p, int j) {
        __m512i q = _mm512_mask_broadcast_i64x4(_mm512_castsi256_si512(load32(p + 68 * j + 2)), 0xf0, load32(p + 68 * j + 36));
        return _mm512_xor_si512(q, _mm512_set1_epi8(-128));
    }
};

inline __m512i look_up(const uint8_t* table, __m512i u) { return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(load16(table)), u); }

template <> struct Wide<Format::IQ4_NL> : Shape32<18, 128> {
    static Scales scales(const uint8_t* p) { return {halves<18>(p), _mm512_setzero_ps()}; }
    static __m512i quants(const uint8_t* p, int j) { return look_up(iq4_values, nibbles(p + 36 * j + 2, p + 36 * j + 20)); }
};

template <> struct Wide<Format::MXFP4> : Shape32<17, 12> {
    static Scales scales(const uint8_t* p) {
        alignas(32) float a[16] = {};
        for (int i = 0; i < 8; ++i) a[i] = half_power_of_two(p[17 * i]);
        return {_mm512_loadu_ps(a), _mm512_setzero_ps()};
    }
    static __m512i quants(const uint8_t* p, int j) { return look_up(mx_values, nibbles(p + 34 * j + 1, p + 34 * j + 18)); }
};

template <> struct Wide<Format::Q2_K> : Shape256<84, 16, 0, true> {
    static Scales scales(const uint8_t* p) {
        __m128i s = load16(p), low = _mm_set1_epi8(15);
        return {_mm512_mul_ps(bytes_to_floats(_mm_and_si128(s, low)), _mm512_set1_ps(half(p + 80))),
                _mm512_mul_ps(bytes_to_floats(_mm_and_si128(_mm_srli_epi16(s, 4), low)), _mm512_set1_ps(-half(p + 82)))};
    }
    static __m512i quants(const uint8_t* p, int j) { return planes(p + 16 + j / 2 * 32, j % 2 * 4, j % 2 * 4 + 2, 3, 0); }
};

template <> struct Wide<Format::Q3_K> : Shape256<110, 16, 4> {
    static Scales scales(const uint8_t* p) {
        uint8_t s[16];
        q3_scales(p + 96, s);
        __m512i centred = _mm512_sub_epi32(_mm512_cvtepu8_epi32(load16(s)), _mm512_set1_epi32(32));
        return {_mm512_mul_ps(_mm512_cvtepi32_ps(centred), _mm512_set1_ps(half(p + 108))), _mm512_setzero_ps()};
    }
    static __m512i quants(const uint8_t* p, int j) {
        return _mm512_or_si512(planes(p + 32 + j / 2 * 32, j % 2 * 4, j % 2 * 4 + 2, 3, 0), planes(p, 2 * j, 2 * j + 1, 1, 2));
    }
};

inline Scales wide_k_scales(const uint8_t* p) {
    SixBits six = six_bits(p + 4);
    __m512 s = bytes_to_floats(_mm_set_epi64x(static_cast<int64_t>(six.minima), static_cast<int64_t>(six.scales)));
    __m512 both = _mm512_castps128_ps512(_mm_cvtph_ps(_mm_cvtsi32_si128(load<int32_t>(p) ^ INT32_MIN)));  // d, -dmin
    const __m512i first_eight = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    __m512 factors = _mm512_permutexvar_ps(first_eight, both);
    s = _mm512_mul_ps(s, factors);
    return {s, _mm512_castps256_ps512(_mm512_extractf32x8_ps(s, 1))};
}

template <> struct Wide<Format::Q4_K> : Shape256<144, 32, 0, true> {
    static Scales scales(const uint8_t* p) { return wide_k_scales(p); }
    static __m512i quants(const uint8_t* p, int j) { return nibbles(p + 16 + 32 * j); }
};

template <> struct Wide<Format::Q5_K> : Shape256<176, 32, 0, true> {
    static Scales scales(const uint8_t* p) { return wide_k_scales(p); }
    static __m512i quants(const uint8_t* p, int j) {
        return _mm512_or_si512(nibbles(p + 48 + 32 * j), planes(p + 16, 2 * j, 2 * j + 1, 1, 4));
    }
};

template <> struct Wide<Format::Q6_K> : Shape256<210, 16, 32> {
    static Scales scales(const uint8_t* p) {
        __m512 s = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load16(p + 192)));
        return {_mm512_mul_ps(s, _mm512_set1_ps(half(p + 208))), _mm512_setzero_ps()};
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
        return {_mm512_castps256_ps512(_mm256_mul_ps(a, _mm256_set1_ps(half(p)))), _mm512_setzero_ps()};
    }
    static __m512i quants(const uint8_t* p, int j) { return look_up(iq4_values, nibbles(p + 8 + 32 * j, p + 24 + 32 * j)); }
};

template <Format F>
struct WideBlocks : Vectors<Wide<F>, Wide<F>> {
    using Vectors<Wide<F>, Wide<F>>::scales;
    using Vectors<Wide<F>, Wide<F>>::quants;
    using Vector = Wide<F>;
};

}  // namespace

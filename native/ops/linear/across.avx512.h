#pragma once

#include "blocks.avx512.h"
#include "planes.avx512.h"

// Block formats for matrix tiles: 16 rows at once, a lane to each, transposed while they are still packed, which is half the
// work or less. across() writes the quants of a whole chunk: word k (columns 4k to 4k + 3) of the 16 rows at out + 128 k.
namespace {

// Words of 16 bytes of each row: w[i] holds word i.
struct RowWords {
    __m512i w[4];

    RowWords(const uint8_t* const* rows, int64_t offset) {
        __m512i four[4];  // rows j, j + 4, j + 8, j + 12: after 4 x 4 transposes lane 4l + j is that of row 4l + j
        for (int j = 0; j < 4; ++j) {
            four[j] = _mm512_castsi128_si512(load16(rows[j] + offset));
            four[j] = _mm512_inserti32x4(four[j], load16(rows[j + 4] + offset), 1);
            four[j] = _mm512_inserti32x4(four[j], load16(rows[j + 8] + offset), 2);
            four[j] = _mm512_inserti32x4(four[j], load16(rows[j + 12] + offset), 3);
        }
        __m512i a = _mm512_unpacklo_epi32(four[0], four[1]), b = _mm512_unpackhi_epi32(four[0], four[1]);
        __m512i c = _mm512_unpacklo_epi32(four[2], four[3]), d = _mm512_unpackhi_epi32(four[2], four[3]);
        w[0] = _mm512_unpacklo_epi64(a, c), w[1] = _mm512_unpackhi_epi64(a, c);
        w[2] = _mm512_unpacklo_epi64(b, d), w[3] = _mm512_unpackhi_epi64(b, d);
    }
};

struct Same {
    static __m512i of(__m512i u) { return u; }
};
template <const uint8_t* Table>
struct LookedUp {
    static __m512i of(__m512i u) { return look_up(Table, u); }
};

inline void put(uint8_t* out, int k, __m512i u) { _mm512_store_si512(out + 128 * k, u); }

// `bits` of every byte from bit `from` on, moved to bit `to`.
inline __m512i bits_at(__m512i bytes, int from, int to, int bits) {
    return _mm512_and_si512(_mm512_rolv_epi32(bytes, _mm512_set1_epi32((to - from) & 31)), _mm512_set1_epi8(static_cast<char>(bits << to)));
}

// 16 bytes of each row: low nibbles to word `low` and the three behind it, high ones to `high`.
template <class Value = Same>
inline void put_nibbles(const uint8_t* const* rows, int64_t offset, uint8_t* out, int low, int high) {
    RowWords q(rows, offset);
    for (int i = 0; i < 4; ++i) {
        put(out, low + i, Value::of(low_nibbles(q.w[i])));
        put(out, high + i, Value::of(high_nibbles(q.w[i])));
    }
}

template <Format>
struct Across {};

template <int Bytes, int First, class Value = Same>
struct NibblesAcross {
    static void across(const uint8_t* const* rows, uint8_t* out) {
        for (int g = 0; g < 8; ++g) put_nibbles<Value>(rows, Bytes * g + First, out, 8 * g, 8 * g + 4);
    }
};
template <> struct Across<Format::Q4_0> : NibblesAcross<18, 2> {};
template <> struct Across<Format::Q4_1> : NibblesAcross<20, 4> {};
template <> struct Across<Format::IQ4_NL> : NibblesAcross<18, 2, LookedUp<iq4_values>> {};
template <> struct Across<Format::IQ4_XS> : NibblesAcross<16, 8, LookedUp<iq4_values>> {};
template <> struct Across<Format::MXFP4> : NibblesAcross<17, 1, LookedUp<mx_values>> {};

template <> struct Across<Format::Q8_0> {
    static void across(const uint8_t* const* rows, uint8_t* out) {
        for (int h = 0; h < 16; ++h) {
            RowWords q(rows, 34 * (h / 2) + 2 + 16 * (h % 2));
            for (int i = 0; i < 4; ++i) put(out, 4 * h + i, _mm512_xor_si512(q.w[i], _mm512_set1_epi8(-128)));
        }
    }
};

template <> struct Across<Format::Q4_K> {
    static void across(const uint8_t* const* rows, uint8_t* out) {
        for (int h = 0; h < 8; ++h) {
            int word = h / 2 * 16 + h % 2 * 4;
            put_nibbles(rows, 16 + 16 * h, out, word, word + 8);
        }
    }
};

template <> struct Across<Format::Q5_K> {
    static void across(const uint8_t* const* rows, uint8_t* out) {
        for (int h = 0; h < 2; ++h) {
            RowWords fifth(rows, 16 + 16 * h);
            for (int j = 0; j < 4; ++j) {
                RowWords q(rows, 48 + 32 * j + 16 * h);
                for (int i = 0; i < 4; ++i) {
                    int word = 16 * j + 4 * h + i;
                    put(out, word, _mm512_or_si512(low_nibbles(q.w[i]), bits_at(fifth.w[i], 2 * j, 4, 1)));
                    put(out, word + 8, _mm512_or_si512(high_nibbles(q.w[i]), bits_at(fifth.w[i], 2 * j + 1, 4, 1)));
                }
            }
        }
    }
};

template <> struct Across<Format::Q6_K> {
    static void across(const uint8_t* const* rows, uint8_t* out) {
        for (int h = 0; h < 4; ++h) {  // 16 of 32 columns in each quarter of half a chunk
            int half = h / 2, from = 16 * (h % 2), word = 32 * half + 4 * (h % 2);
            RowWords high(rows, 128 + 32 * half + from);
            for (int quarter = 0; quarter < 2; ++quarter) {
                RowWords low(rows, 64 * half + 32 * quarter + from);
                for (int i = 0; i < 4; ++i) {
                    put(out, word + 8 * quarter + i, _mm512_or_si512(low_nibbles(low.w[i]), bits_at(high.w[i], 2 * quarter, 4, 3)));
                    put(out, word + 8 * (quarter + 2) + i, _mm512_or_si512(high_nibbles(low.w[i]), bits_at(high.w[i], 4 + 2 * quarter, 4, 3)));
                }
            }
        }
    }
};

template <> struct Across<Format::D4> {
    static void across(const uint8_t* const* rows, uint8_t* out) {
        for (int h = 0; h < 8; ++h) {  // a quarter of a plane: two groups
            RowWords q(rows, 16 * h);
            for (int i = 0; i < 4; ++i) {
                int word = 16 * (h % 4) + 8 * (i / 2) + 4 * (h / 4) + i % 2;
                put(out, word, look_up(iq4_values, low_nibbles(q.w[i])));
                put(out, word + 2, look_up(iq4_values, high_nibbles(q.w[i])));
            }
        }
    }
};

template <> struct Across<Format::D8> {
    static void across(const uint8_t* const* rows, uint8_t* out) {
        for (int h = 0; h < 16; ++h) {
            RowWords q(rows, 16 * h);
            for (int i = 0; i < 4; ++i) put(out, 16 * (h % 4) + 8 * (i / 2) + 2 * (h / 4) + i % 2, Wide<Format::D8>::unsign(q.w[i]));
        }
    }
};

template <Format F>
struct WideBlocks : Vectors<Wide<F>, Wide<F>>, Across<F> {
    using Vectors<Wide<F>, Wide<F>>::scales;
    using Vectors<Wide<F>, Wide<F>>::quants;
    using Vector = Wide<F>;
};

}  // namespace

#pragma once

#include "avx2.h"
#include "planes.h"

// The block formats as 256-bit vectors. eights() gives the 256 quants of a chunk as 8 vectors: vector k holds columns 4k to
// 4k + 3 of each of its 8 groups of 32, as they are stored in tiles: unsigned, or less `zero` where that needs 8 bits.
namespace {

inline __m128i load16(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

inline __m256i two_pieces(const uint8_t* first, const uint8_t* second) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load16(first)), load16(second), 1);
}

// 16 bytes at each of p, p + stride, ...: w[i] holds word i of the eight.
struct EightWords {
    __m256i w[4];

    EightWords(const uint8_t* p, int64_t stride) {
        __m256i two[4];
        for (int j = 0; j < 4; ++j) two[j] = two_pieces(p + j * stride, p + (j + 4) * stride);
        __m256i a = _mm256_unpacklo_epi32(two[0], two[1]), b = _mm256_unpackhi_epi32(two[0], two[1]);
        __m256i c = _mm256_unpacklo_epi32(two[2], two[3]), d = _mm256_unpackhi_epi32(two[2], two[3]);
        w[0] = _mm256_unpacklo_epi64(a, c), w[1] = _mm256_unpackhi_epi64(a, c);
        w[2] = _mm256_unpacklo_epi64(b, d), w[3] = _mm256_unpackhi_epi64(b, d);
    }
};

inline __m256i low_nibbles(__m256i bytes) { return _mm256_and_si256(bytes, _mm256_set1_epi8(15)); }

// Blocks whose 16 bytes hold columns 0 to 15 in their low nibbles and 16 to 31 in their high ones.
template <int Bytes, int First>
inline void nibble_eights(const uint8_t* p, __m256i* u) {
    EightWords q(p + First, Bytes);
    for (int i = 0; i < 4; ++i) u[i] = low_nibbles(q.w[i]), u[4 + i] = low_nibbles(_mm256_srli_epi64(q.w[i], 4));
}

// The same in the order of the columns.
template <int Bytes, int First>
inline void nibble_quants(const uint8_t* p, uint8_t* u) {
    for (int g = 0; g < 8; ++g) {
        __m128i q = load16(p + g * Bytes + First);
        __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(q), _mm_srli_epi64(q, 4), 1);
        _mm256_store_si256(reinterpret_cast<__m256i*>(u + 32 * g), low_nibbles(both));
    }
}

inline __m256i looked_up(const uint8_t* table, __m256i nibbles) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load16(table)), nibbles);
}
// IQ4_NL's levels as signed bytes.
inline void iq4_levels(__m256i* u) {
    for (int k = 0; k < 8; ++k) u[k] = _mm256_xor_si256(looked_up(iq4_values, u[k]), _mm256_set1_epi8(-128));
}

// 16 in each byte of `bytes` that has the bit set.
inline __m256i fifth_bits(__m256i bytes, __m256i bit) {
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit), _mm256_set1_epi8(16));
}
// The 32 bits that stand at p, p + Stride, ... are the fifth ones of a group's columns.
template <int Stride>
inline void add_fifth_bits(const uint8_t* p, __m256i* u) {
    alignas(32) uint32_t words[8];
    for (int i = 0; i < 8; ++i) words[i] = load<uint32_t>(p + i * Stride);
    const __m256i lane = _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c));
    for (int k = 0; k < 8; ++k) {
        __m256i bytes = _mm256_shuffle_epi8(load32(words), _mm256_add_epi8(lane, _mm256_set1_epi8(static_cast<char>(k / 2))));
        u[k] = _mm256_or_si256(u[k], fifth_bits(bytes, _mm256_set1_epi32(static_cast<int>(k % 2 ? 0x80402010u : 0x08040201u))));
    }
}

// Every second one of 16 words.
template <int Odd>
inline __m256 alternate(const void* words) {
    const float* p = static_cast<const float*>(words);
    __m256 both = _mm256_shuffle_ps(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8), Odd ? 0xdd : 0x88);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(both), 0xd8));
}
template <int Odd>
inline __m256i alternate_words(const uint8_t* p) { return _mm256_castps_si256(alternate<Odd>(p)); }

// Words: 8 bytes at `first`, 8 at `second`.
inline __m128i two_eights(const uint8_t* first, const uint8_t* second) {
    __m128i low = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(first));
    return _mm_castpd_si128(_mm_loadh_pd(_mm_castsi128_pd(low), reinterpret_cast<const double*>(second)));
}
// The 8 binary16 numbers that stand at p, p + Stride, ...: each is loaded with what is around it to where it belongs.
template <int Stride>
inline __m256 eight_halves(const uint8_t* p) {
    __m128i q[4];
    for (int j = 0; j < 4; ++j) q[j] = two_eights(p + j * (Stride - 2), p + j * (Stride - 2) + 4 * Stride);
    __m128i even = _mm_blend_epi16(q[0], q[2], 0x44), odd = _mm_blend_epi16(q[1], q[3], 0x88);
    return _mm256_cvtph_ps(_mm_blend_epi16(even, odd, 0xaa));
}
// The same of pairs: the first and the second binary16 at p, p + Stride, ...
template <int Stride>
inline void eight_pairs(const uint8_t* p, float* first, float* second) {
    const __m128i apart = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    __m128i four[2];
    for (int j = 0; j < 2; ++j, p += 4 * Stride) {
        __m128i even = two_eights(p, p + 2 * Stride), odd = two_eights(p + Stride - 4, p + 3 * Stride - 4);
        four[j] = _mm_shuffle_epi8(_mm_blend_epi32(even, odd, 0xa), apart);
    }
    _mm256_storeu_ps(first, _mm256_cvtph_ps(_mm_unpacklo_epi64(four[0], four[1])));
    _mm256_storeu_ps(second, _mm256_cvtph_ps(_mm_unpackhi_epi64(four[0], four[1])));
}
inline __m256 one_half(const uint8_t* p) { return _mm256_set1_ps(_cvtsh_ss(load<uint16_t>(p))); }
inline __m256 eight_bytes(uint64_t bytes) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(bytes))));
}

// bits: of a quant as it is stored. What is not said here is done number by number.
template <Format F, int Bits>
struct Numbers : Blocks<F> {
    static constexpr int bits = Bits;
};
template <Format F> struct Eights : Numbers<F, 8> {};
template <> struct Eights<Format::Q2_K> : Numbers<Format::Q2_K, 2> {
    static void eights(const uint8_t* p, __m256i* u) {
        for (int g = 0; g < 8; ++g)
            u[g] = _mm256_and_si256(_mm256_srli_epi64(load32(p + 16 + g / 4 * 32), g % 4 * 2), _mm256_set1_epi8(3));
        transpose_words(u);
    }
};
template <> struct Eights<Format::Q3_K> : Numbers<Format::Q3_K, 3> {
    static void eights(const uint8_t* p, __m256i* u) {
        for (int g = 0; g < 8; ++g) {
            __m256i low = _mm256_and_si256(_mm256_srli_epi64(load32(p + 32 + g / 4 * 32), g % 4 * 2), _mm256_set1_epi8(3));
            __m256i third = _mm256_and_si256(_mm256_srli_epi64(load32(p), g), _mm256_set1_epi8(1));
            u[g] = _mm256_or_si256(low, _mm256_slli_epi64(third, 2));
        }
        transpose_words(u);
    }
};
template <> struct Eights<Format::MXFP4> : Numbers<Format::MXFP4, 5> {
    static void eights(const uint8_t* p, __m256i* u) {
        nibble_eights<17, 1>(p, u);
        for (int k = 0; k < 8; ++k) u[k] = looked_up(mx_values, u[k]);
    }
};
template <> struct Eights<Format::IQ4_XS> : Numbers<Format::IQ4_XS, 8> {
    static void eights(const uint8_t* p, __m256i* u) { nibble_eights<16, 8>(p, u), iq4_levels(u); }
};
template <> struct Eights<Format::D4> : Numbers<Format::D4, 8> {
    static void scales(const uint8_t* p, float* a, float*) {
        __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + planes + 2));
        _mm256_storeu_ps(a, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), _mm256_set1_ps(unit(p))));
    }
    static void eights(const uint8_t* p, __m256i* u) {
        for (int k = 0; k < 2; ++k) {
            __m256i even = alternate_words<0>(p + 64 * k), odd = alternate_words<1>(p + 64 * k);
            u[4 * k] = low_nibbles(even), u[4 * k + 1] = low_nibbles(odd);
            u[4 * k + 2] = low_nibbles(_mm256_srli_epi64(even, 4)), u[4 * k + 3] = low_nibbles(_mm256_srli_epi64(odd, 4));
        }
        iq4_levels(u);
    }
};
template <> struct Eights<Format::D8> : Numbers<Format::D8, 8> {
    static void scales(const uint8_t* p, float* a, float*) {
        _mm256_storeu_ps(a, _mm256_mul_ps(eight_bytes(load<uint64_t>(p + planes + 2)), _mm256_set1_ps(unit(p))));
    }
    static void eights(const uint8_t* p, __m256i* u) {
        for (int k = 0; k < 4; ++k) u[2 * k] = alternate_words<0>(p + 64 * k), u[2 * k + 1] = alternate_words<1>(p + 64 * k);
    }
};

template <Format F, int Bits>
struct OneHalf : Numbers<F, Bits> {
    static void scales(const uint8_t* p, float* a, float*) { _mm256_storeu_ps(a, eight_halves<Blocks<F>::bytes>(p)); }
};
template <Format F, int Bits>
struct TwoHalves : Numbers<F, Bits> {
    static void scales(const uint8_t* p, float* a, float* b) {
        eight_pairs<Blocks<F>::bytes>(p, a, b);
    }
};
template <> struct Eights<Format::Q4_0> : OneHalf<Format::Q4_0, 4> {
    static void eights(const uint8_t* p, __m256i* u) { nibble_eights<18, 2>(p, u); }
    static void quants(const uint8_t* p, uint8_t* u) { nibble_quants<18, 2>(p, u); }
};
template <> struct Eights<Format::Q4_1> : TwoHalves<Format::Q4_1, 4> {
    static void eights(const uint8_t* p, __m256i* u) { nibble_eights<20, 4>(p, u); }
    static void quants(const uint8_t* p, uint8_t* u) { nibble_quants<20, 4>(p, u); }
};
template <> struct Eights<Format::Q5_0> : OneHalf<Format::Q5_0, 5> {
    static void eights(const uint8_t* p, __m256i* u) { nibble_eights<22, 6>(p, u), add_fifth_bits<22>(p + 2, u); }
};
template <> struct Eights<Format::Q5_1> : TwoHalves<Format::Q5_1, 5> {
    static void eights(const uint8_t* p, __m256i* u) { nibble_eights<24, 8>(p, u), add_fifth_bits<24>(p + 4, u); }
};
template <> struct Eights<Format::IQ4_NL> : OneHalf<Format::IQ4_NL, 8> {
    static void eights(const uint8_t* p, __m256i* u) { nibble_eights<18, 2>(p, u), iq4_levels(u); }
};
template <> struct Eights<Format::Q8_0> : OneHalf<Format::Q8_0, 8> {
    static void eights(const uint8_t* p, __m256i* u) {
        for (int g = 0; g < 8; ++g) u[g] = load32(p + 34 * g + 2);
        transpose_words(u);
    }
};

template <Format F, int Bits>
struct SixBitScales : Numbers<F, Bits> {
    static void scales(const uint8_t* p, float* a, float* b) {
        SixBits s = six_bits(p + 4);
        _mm256_storeu_ps(a, _mm256_mul_ps(eight_bytes(s.scales), one_half(p)));
        _mm256_storeu_ps(b, _mm256_mul_ps(eight_bytes(s.minima), _mm256_sub_ps(_mm256_setzero_ps(), one_half(p + 2))));
    }
};
// Four times 32 bytes, whose low nibbles are an even group and high ones the odd group after it: both lanes of such a pair get
// the same word, and shift it by their own distance.
inline void paired_eights(const uint8_t* p, __m256i* u) {
    const __m256i distance = _mm256_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4);
    for (int h = 0; h < 2; ++h, p += 16, u += 4) {
        __m256 even = _mm256_castsi256_ps(two_pieces(p, p + 64)), odd = _mm256_castsi256_ps(two_pieces(p + 32, p + 96));
        __m256 words[4] = {_mm256_shuffle_ps(even, odd, 0x00), _mm256_shuffle_ps(even, odd, 0x55),
                           _mm256_shuffle_ps(even, odd, 0xaa), _mm256_shuffle_ps(even, odd, 0xff)};
        for (int i = 0; i < 4; ++i) u[i] = low_nibbles(_mm256_srlv_epi32(_mm256_castps_si256(words[i]), distance));
    }
}
template <> struct Eights<Format::Q4_K> : SixBitScales<Format::Q4_K, 4> {
    static void eights(const uint8_t* p, __m256i* u) { paired_eights(p + 16, u); }
};
template <> struct Eights<Format::Q5_K> : SixBitScales<Format::Q5_K, 5> {
    static void eights(const uint8_t* p, __m256i* u) {
        const __m256i group = _mm256_sllv_epi32(_mm256_set1_epi32(0x01010101), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
        paired_eights(p + 48, u);
        for (int k = 0; k < 8; ++k)
            u[k] = _mm256_or_si256(u[k], fifth_bits(_mm256_set1_epi32(load<int32_t>(p + 16 + 4 * k)), group));
    }
};
template <> struct Eights<Format::Q6_K> : Numbers<Format::Q6_K, 6> {
    static void scales(const uint8_t* p, float* a, float*) {
        for (int h = 0; h < 2; ++h) {
            __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 192 + 8 * h));
            _mm256_storeu_ps(a + 8 * h, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), one_half(p + 208)));
        }
    }
    static __m256i pairs(__m256i high, int group) {
        __m256i moved = group % 4 == 0 ? _mm256_slli_epi64(high, 4) : group % 4 == 1 ? _mm256_slli_epi64(high, 2)
                      : group % 4 == 2 ? high : _mm256_srli_epi64(high, 2);
        return _mm256_and_si256(moved, _mm256_set1_epi8(48));
    }
    static void eights(const uint8_t* p, __m256i* u) {
        for (int g = 0; g < 8; ++g) {
            __m256i low = load32(p + g / 4 * 64 + g % 2 * 32), high = load32(p + 128 + g / 4 * 32);
            u[g] = _mm256_or_si256(low_nibbles(g % 4 < 2 ? low : _mm256_srli_epi64(low, 4)), pairs(high, g));
        }
        transpose_words(u);
    }
};

}  // namespace

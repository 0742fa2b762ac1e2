#pragma once

// Small words of AVX-512 that several kernels use; internal linkage, since each file is built with its own flags.

#include <immintrin.h>

#include <cstdint>

namespace {

inline __mmask16 first_lanes(int64_t n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : static_cast<__mmask16>((1u << n) - 1u); }
inline __m512i words(const void* p) { return _mm512_loadu_si512(p); }

inline __mmask32 first_words(int64_t n) { return n >= 32 ? 0xffffffffu : n <= 0 ? 0u : (1u << n) - 1u; }

// Numbers of 16 bits side by side, a0 b0 a1 b1 and so on: the first 16 of each, and the others.
inline __m512i low_pairs(__m512i a, __m512i b) {
    const __m512i order =
        _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    return _mm512_permutex2var_epi16(a, order, b);
}
inline __m512i high_pairs(__m512i a, __m512i b) {
    const __m512i order =
        _mm512_set_epi16(63, 31, 62, 30, 61, 29, 60, 28, 59, 27, 58, 26, 57, 25, 56, 24, 55, 23, 54, 22, 53, 21, 52, 20, 51, 19, 50, 18, 49, 17, 48, 16);
    return _mm512_permutex2var_epi16(a, order, b);
}

#if defined(__AVX512BF16__)
inline __m512bh bits(__m512i v) { return (__m512bh)v; }

// Rounded to bfloat16, a0 b0 a1 b1 and so on.
inline __m512i rounded_pairs(__m512 a, __m512 b) {
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(b, a));
}
#endif

// 16 x 16 words in place: four rounds of exchanging neighbours at distance 1, 2 words, then 1, 2 lanes of 128 bits.
inline void transpose_words(__m512i* v) {
    __m512i w[16];
    for (int i = 0; i < 16; i += 2) {
        w[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        w[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; ++j) {
            v[i + 2 * j] = _mm512_unpacklo_epi64(w[i + j], w[i + j + 2]);
            v[i + 2 * j + 1] = _mm512_unpackhi_epi64(w[i + j], w[i + j + 2]);
        }
    for (int j = 0; j < 4; ++j) {
        w[j] = _mm512_shuffle_i32x4(v[j], v[j + 4], 0x88), w[j + 4] = _mm512_shuffle_i32x4(v[j], v[j + 4], 0xdd);
        w[j + 8] = _mm512_shuffle_i32x4(v[j + 8], v[j + 12], 0x88), w[j + 12] = _mm512_shuffle_i32x4(v[j + 8], v[j + 12], 0xdd);
    }
    for (int j = 0; j < 8; ++j) {
        v[j] = _mm512_shuffle_i32x4(w[j], w[j + 8], 0x88);
        v[j + 8] = _mm512_shuffle_i32x4(w[j], w[j + 8], 0xdd);
    }
}

}  // namespace

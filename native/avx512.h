#pragma once

// Small words of AVX-512 that several kernels use; internal linkage, since each file is built with its own flags.

#include <immintrin.h>

#include <cstdint>

namespace {

inline __mmask16 first_lanes(int64_t n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : static_cast<__mmask16>((1u << n) - 1u); }
inline __m512i words(const void* p) { return _mm512_loadu_si512(p); }

#if defined(__AVX512BF16__)
inline __m512bh bits(__m512i v) { return (__m512bh)v; }
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

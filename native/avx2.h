#pragma once

// Small words of AVX2 that several kernels use; internal linkage, since each file is built with its own flags.

#include <immintrin.h>

namespace {

inline __m256i load32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

// 8 x 8 words in place: neighbours change places at distance 1, 2 and 4.
inline void transpose_words(__m256i* v) {
    __m256i w[8];
    for (int i = 0; i < 8; i += 2) w[i] = _mm256_unpacklo_epi32(v[i], v[i + 1]), w[i + 1] = _mm256_unpackhi_epi32(v[i], v[i + 1]);
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; ++j) {
            v[i + 2 * j] = _mm256_unpacklo_epi64(w[i + j], w[i + j + 2]);
            v[i + 2 * j + 1] = _mm256_unpackhi_epi64(w[i + j], w[i + j + 2]);
        }
    for (int j = 0; j < 4; ++j) {
        __m256i low = v[j], high = v[j + 4];
        v[j] = _mm256_permute2x128_si256(low, high, 0x20), v[j + 4] = _mm256_permute2x128_si256(low, high, 0x31);
    }
}

}  // namespace

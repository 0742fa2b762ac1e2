#pragma once

#include <immintrin.h>

#include "half.h"
#include "linear.h"

// Activations rounded to int8: a chunk's 256, all of its groups at once, since one by one each waits for its own division; or a group.
namespace {

constexpr float least_rounded = 1e-30f;  // of a group's largest magnitude: below it all are zero

// The largest magnitude of each group of 32, compared as integers so that a NaN is the largest of all.
inline __m256 magnitudes(const float* x) {
    const __m512i sign = _mm512_set1_epi32(0x7fffffff);
    __m512i most[8];
    for (int g = 0; g < 8; ++g)
        most[g] = _mm512_max_epi32(_mm512_and_si512(_mm512_loadu_si512(x + 32 * g), sign), _mm512_and_si512(_mm512_loadu_si512(x + 32 * g + 16), sign));
    for (int g = 0; g < 8; g += 2) most[g] = _mm512_max_epi32(_mm512_unpacklo_epi32(most[g], most[g + 1]), _mm512_unpackhi_epi32(most[g], most[g + 1]));
    for (int g = 0; g < 8; g += 4) most[g] = _mm512_max_epi32(_mm512_unpacklo_epi64(most[g], most[g + 2]), _mm512_unpackhi_epi64(most[g], most[g + 2]));
    // Lanes of 128 bits, each with a part of four groups': of the first four in most[0], of the others in most[4].
    __m512i both = _mm512_max_epi32(_mm512_shuffle_i64x2(most[0], most[4], 0x44), _mm512_shuffle_i64x2(most[0], most[4], 0xee));
    const __m512i even = _mm512_setr_epi64(0, 1, 4, 5, 0, 1, 4, 5), odd = _mm512_setr_epi64(2, 3, 6, 7, 2, 3, 6, 7);
    both = _mm512_max_epi32(_mm512_permutexvar_epi64(even, both), _mm512_permutexvar_epi64(odd, both));
    return _mm256_castsi256_ps(_mm512_castsi512_si256(both));
}

// 16 numbers; a NaN becomes 127.
inline __m512i rounded16(const float* x, float inverse) {
    return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(inverse)), _mm512_set1_ps(127.0f)));
}

// 64 numbers, two groups, as bytes: dword 4 l + i holds columns 16 i + 4 l to + 3.
inline __m512i rounded(const float* x, const float* inverse) {
    __m512i q[4];
    for (int i = 0; i < 4; ++i) q[i] = rounded16(x + 16 * i, inverse[i / 2]);
    return _mm512_packs_epi16(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]));
}

// Four of those -> 8 columns of every group in a vector: 0 to 7, 8 to 15, 16 to 23, 24 to 31.
inline void into_quads(const __m512i* pairs, __m512i* q) {
    const __m512i first = _mm512_setr_epi32(0, 4, 2, 6, 16, 20, 18, 22, 8, 12, 10, 14, 24, 28, 26, 30);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(1));
    for (int k = 0; k < 4; k += 2) {
        __m512i low = _mm512_permutex2var_epi32(pairs[0], k ? second : first, pairs[1]);
        __m512i high = _mm512_permutex2var_epi32(pairs[2], k ? second : first, pairs[3]);
        q[k] = _mm512_shuffle_i64x2(low, high, 0x44), q[k + 1] = _mm512_shuffle_i64x2(low, high, 0xee);
    }
}

// What 16 quants of each group add up to, in both of the group's lanes.
inline __m512i sums_of(__m512i a, __m512i b) {
    const __m512i one = _mm512_set1_epi8(1);
    __m512i sum = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), one, a), one, b);
    return _mm512_add_epi32(sum, _mm512_shuffle_epi32(sum, _MM_PERM_CDAB));
}

// Group g's quants. low, high: what its halves' add up to. Returns its scale.
inline float quantize_one(const float* x, int g, Chunk* chunk, int32_t* low, int32_t* high) {
    const __m512i sign = _mm512_set1_epi32(0x7fffffff);
    __m512i both = _mm512_max_epi32(_mm512_and_si512(_mm512_loadu_si512(x), sign), _mm512_and_si512(_mm512_loadu_si512(x + 16), sign));
    const float most = bits_to_float(static_cast<uint32_t>(_mm512_reduce_max_epi32(both))), inverse = most > least_rounded ? 127.0f / most : 0.0f;
    __m512i first = rounded16(x, inverse), second = rounded16(x + 16, inverse);
    __m128i a = _mm512_cvtepi32_epi8(first), b = _mm512_cvtepi32_epi8(second);
    auto put = [&](int quarter, __m128i bytes) { _mm_storel_epi64(reinterpret_cast<__m128i*>(chunk->q + 64 * quarter + 8 * g), bytes); };
    put(0, a), put(1, _mm_unpackhi_epi64(a, a)), put(2, b), put(3, _mm_unpackhi_epi64(b, b));
    *low = _mm512_reduce_add_epi32(first), *high = _mm512_reduce_add_epi32(second);
    return most / 127.0f;
}

inline void quantize_all(const float* x, Chunk* chunk) {
    const __m256 most = magnitudes(x), full = _mm256_set1_ps(127.0f);
    alignas(32) float inverse[8];
    _mm256_store_ps(inverse, _mm256_maskz_div_ps(_mm256_cmp_ps_mask(most, _mm256_set1_ps(least_rounded), _CMP_GT_OQ), full, most));
    __m512i pairs[4], q[4];
    for (int j = 0; j < 4; ++j) pairs[j] = rounded(x + 64 * j, inverse + 2 * j);
    into_quads(pairs, q);
    for (int k = 0; k < 4; ++k) _mm512_store_si512(chunk->q + 64 * k, q[k]);

    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14);
    __m512i low = sums_of(q[0], q[1]), high = sums_of(q[2], q[3]), halves = _mm512_mask_mov_epi32(low, 0xaaaa, high);
    __m512i whole = _mm512_permutexvar_epi32(even, _mm512_add_epi32(low, high)), zero = _mm512_setzero_si512();
    __m256 single = _mm256_div_ps(most, full);
    __m512 scale = _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(single));
    _mm512_store_ps(chunk->scale, scale);
    _mm512_store_ps(chunk->sum16, _mm512_mul_ps(scale, _mm512_cvtepi32_ps(halves)));
    _mm512_store_si512(chunk->minus16, _mm512_sub_epi32(zero, halves));
    _mm256_store_si256(reinterpret_cast<__m256i*>(chunk->minus32), _mm512_castsi512_si256(_mm512_sub_epi32(zero, whole)));
    _mm256_store_ps(chunk->sum32, _mm256_mul_ps(single, _mm256_cvtepi32_ps(_mm512_castsi512_si256(whole))));
}

}  // namespace

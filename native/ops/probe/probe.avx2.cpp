#include "probe.h"

#include <immintrin.h>

// As probe.avx512.cpp with half the width. Without VNNI, 32 int8 products take vpmaddubsw, vpmaddwd and an add;
// 12 chains leave registers for the operands.
static uint64_t low(__m256i v) {
    __m128i s = _mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    return static_cast<uint64_t>(_mm_extract_epi64(s, 0) + _mm_extract_epi64(s, 1));
}

static uint64_t read(const uint8_t* data, int64_t bytes) {
    __m256i sums[8];
    for (auto& sum : sums) sum = _mm256_setzero_si256();
    for (int64_t i = 0; i < bytes; i += 256)
        for (int j = 0; j < 8; ++j) {
            if (j % 2 == 0) _mm_prefetch(reinterpret_cast<const char*>(data) + i + 32 * j + 4096, _MM_HINT_T0);
            sums[j] = _mm256_add_epi64(sums[j], _mm256_load_si256(reinterpret_cast<const __m256i*>(data + i + 32 * j)));
        }
    for (int j = 1; j < 8; ++j) sums[0] = _mm256_add_epi64(sums[0], sums[j]);
    return low(sums[0]);
}

static uint64_t int8(int64_t rounds) {
    __m256i x = _mm256_set1_epi8(3), w = _mm256_set1_epi8(-5), ones = _mm256_set1_epi16(1), sums[12];
    for (auto& sum : sums) sum = _mm256_setzero_si256();
    for (int64_t r = 0; r < rounds; ++r)
        for (int j = 0; j < 12; ++j) {
            __m256i fresh = x;
            asm volatile("" : "+x"(fresh));
            sums[j] = _mm256_add_epi32(sums[j], _mm256_madd_epi16(_mm256_maddubs_epi16(fresh, w), ones));
        }
    for (int j = 1; j < 12; ++j) sums[0] = _mm256_add_epi32(sums[0], sums[j]);
    return low(sums[0]);
}

static uint64_t f32(int64_t rounds) {
    __m256 x = _mm256_set1_ps(1e-3f), w = _mm256_set1_ps(2.0f), sums[12];
    for (auto& sum : sums) sum = _mm256_setzero_ps();
    for (int64_t r = 0; r < rounds; ++r)
        for (int j = 0; j < 12; ++j) sums[j] = _mm256_fmadd_ps(x, w, sums[j]);
    for (int j = 1; j < 12; ++j) sums[0] = _mm256_add_ps(sums[0], sums[j]);
    return low(_mm256_castps_si256(sums[0]));
}

const ProbeTable probe_avx2 = {read, {int8, 12 * 32}, {f32, 12 * 8}};

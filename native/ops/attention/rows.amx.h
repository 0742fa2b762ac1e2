#pragma once

// What attention in tiles does with rows, of grouped heads and of latents' keys and values.

#include "amx.h"
#include "avx512.h"
#include "ops/attention/attention.h"

namespace {

constexpr int64_t whole(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Rows of n numbers as bfloat16, and zeros up to `padded` of them, a multiple of 32.
inline void round_rows(const float* const* rows, int count, int64_t n, int64_t padded, uint16_t* out) {
    for (int i = 0; i < count; ++i, out += padded)
        for (int64_t d = 0; d < padded; d += tile_step) {
            __m512 low = _mm512_maskz_loadu_ps(first_lanes(n - d), rows[i] + d), high = _mm512_maskz_loadu_ps(first_lanes(n - d - 16), rows[i] + d + 16);
            _mm512_storeu_si512(out + d, (__m512i)_mm512_cvtne2ps_pbh(high, low));
        }
}

// n numbers, rounded up to 16.
inline void shrink_sums(const Softmax& state, int64_t n, float* sums) {
    if (state.shrink == 1) return;
    for (int64_t d = 0; d < n; d += 16) _mm512_storeu_ps(sums + d, _mm512_mul_ps(_mm512_loadu_ps(sums + d), _mm512_set1_ps(state.shrink)));
}

}  // namespace

#pragma once

// The softmax of a row of scores. 2^x as 2^n p(r), |r| <= 1/2, with a Taylor polynomial of degree
// 5: right to 3e-6, a thousandth of what weights are rounded by, for 12 instructions a vector.

#include <cmath>

#include "attention.h"
#include "avx512.h"

namespace {

inline __m512 power_of_two(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-126), x);  // a NaN stays one
    __m512 r = _mm512_sub_ps(x, _mm512_roundscale_ps(x, 0));
    __m512 p = _mm512_set1_ps(1.33335581e-3f);
    for (float c : {9.61812911e-3f, 5.55041087e-2f, 0.240226507f, 0.693147181f, 1.0f}) p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(c));
    return _mm512_scalef_ps(p, _mm512_sub_ps(x, r));
}

// take(j, exp(scale * s[j ..] - largest)) for each vector of the `columns`, with zeros from `seen` on; state updated.
template <class Take>
inline void soften_row(const float* s, int seen, int columns, float scale, Softmax* state, const Take& take) {
    __m512 most = _mm512_set1_ps(-INFINITY), total = _mm512_setzero_ps();
    for (int j = 0; j < seen; j += 16) most = _mm512_mask_max_ps(most, first_lanes(seen - j), most, _mm512_loadu_ps(s + j));
    float largest = std::fmax(scale * _mm512_reduce_max_ps(most), state->largest);
    constexpr float log2e = 1.44269504f;
    __m512 factor = _mm512_set1_ps(scale * log2e), base = _mm512_set1_ps(largest == -INFINITY ? 0.0f : largest * log2e);
    for (int j = 0; j < columns; j += 16) {
        __m512 p = _mm512_setzero_ps();
        if (j < seen) p = _mm512_maskz_mov_ps(first_lanes(seen - j), power_of_two(_mm512_fmsub_ps(_mm512_loadu_ps(s + j), factor, base)));
        total = _mm512_add_ps(total, p);
        take(j, p);
    }
    state->shrink = state->largest == largest ? 1.0f : std::exp(state->largest - largest);
    state->sum = state->sum * state->shrink + _mm512_reduce_add_ps(total);
    state->largest = largest;
}

#if defined(__AVX512BF16__)
// The weights in bfloat16.
inline void soften_bfloat(const float* s, int seen, int columns, float scale, Softmax* state, uint16_t* weights) {
    soften_row(s, seen, columns, scale, state, [weights](int j, __m512 p) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(weights + j), (__m256i)_mm512_cvtneps_pbh(p));
    });
}
#endif

}  // namespace

#include "norm.h"

#include <immintrin.h>

#include <cmath>

// Two passes over a row in L1: 16 numbers a load, one fma each pass; four sums hide the fma's four cycles.
static inline __mmask16 first(int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }

static float sum_of_squares(const float* x, int64_t width) {
    __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    int64_t i = 0;
    for (; i + 64 <= width; i += 64)
        for (int j = 0; j < 4; ++j) {
            __m512 v = _mm512_loadu_ps(x + i + 16 * j);
            sums[j] = _mm512_fmadd_ps(v, v, sums[j]);
        }
    for (; i < width; i += 16) {
        __m512 v = _mm512_maskz_loadu_ps(width - i >= 16 ? 0xffff : first(width - i), x + i);
        sums[0] = _mm512_fmadd_ps(v, v, sums[0]);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
}

static void rms_norm(const float* x, const float* weight, float eps, float* y, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; ++r, x += width, y += width) {
        __m512 scale = _mm512_set1_ps(1.0f / std::sqrt(sum_of_squares(x, width) / static_cast<float>(width) + eps));
        for (int64_t i = 0; i < width; i += 16) {
            __mmask16 m = width - i >= 16 ? 0xffff : first(width - i);
            __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), scale);
            _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, weight + i)));
        }
    }
}

extern const NormTable norm_avx512;
const NormTable norm_avx512 = {rms_norm};

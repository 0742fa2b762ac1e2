#include "norm.h"

#include <immintrin.h>

#include <cmath>

// As norm.avx512.cpp with 8 numbers a load; the last width % 8 one by one.
static float total(__m256 v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static float sum_of_squares(const float* x, int64_t width) {
    __m256 a = _mm256_setzero_ps(), b = _mm256_setzero_ps();
    int64_t i = 0;
    for (; i + 16 <= width; i += 16) {
        __m256 v = _mm256_loadu_ps(x + i), w = _mm256_loadu_ps(x + i + 8);
        a = _mm256_fmadd_ps(v, v, a);
        b = _mm256_fmadd_ps(w, w, b);
    }
    float sum = total(_mm256_add_ps(a, b));
    for (; i < width; ++i) sum += x[i] * x[i];
    return sum;
}

static void rms_norm(const float* x, const float* weight, float eps, float* y, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; ++r, x += width, y += width) {
        float scale = 1.0f / std::sqrt(sum_of_squares(x, width) / static_cast<float>(width) + eps);
        __m256 s = _mm256_set1_ps(scale);
        int64_t i = 0;
        for (; i + 8 <= width; i += 8)
            _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), s), _mm256_loadu_ps(weight + i)));
        for (; i < width; ++i) y[i] = x[i] * scale * weight[i];
    }
}

extern const NormTable norm_avx2;
const NormTable norm_avx2 = {rms_norm};

#pragma once

#include <cstdint>

// y = x / sqrt(mean(x^2) + eps) * weight, for each of `rows` rows of `width`. Zhang & Sennrich, arXiv 1910.07467, eq. 4.
struct NormTable {
    void (*rms_norm)(const float* x, const float* weight, float eps, float* y, int64_t rows, int64_t width);
};

extern const NormTable norm_scalar, norm_avx2, norm_avx512;
const NormTable& norm_table();

#pragma once

// 4 multiplications and 2 additions for 16 bytes read and 8 written: a head's row is in cache, so loads and stores bound
// it. The loops are plain; each file that includes this has them vectorized with its own instruction set. Products are
// not fused, so every instruction set gives the same bits.

#include <cstring>

#include "rotate.h"

namespace {

inline void turn_neighbours(const float* __restrict x, const float* __restrict cos, const float* __restrict sin, int64_t pairs,
                            float* __restrict y) {
    for (int64_t i = 0; i < pairs; ++i) {
        float a = x[2 * i], b = x[2 * i + 1];
        y[2 * i] = a * cos[i] - b * sin[i];
        y[2 * i + 1] = b * cos[i] + a * sin[i];
    }
}

inline void turn_halves(const float* __restrict x, const float* __restrict cos, const float* __restrict sin, int64_t pairs,
                        float* __restrict y) {
    for (int64_t i = 0; i < pairs; ++i) {
        float a = x[i], b = x[i + pairs];
        y[i] = a * cos[i] - b * sin[i];
        y[i + pairs] = b * cos[i] + a * sin[i];
    }
}

template <auto Turn>
void rotate(const float* x, int64_t rows, int64_t dim, const float* table, int64_t r, float* y) {
    int64_t plain = dim - r;
    for (int64_t row = 0; row < rows; ++row, x += dim, y += dim) {
        std::memcpy(y, x, plain * sizeof(float));
        Turn(x + plain, table, table + r / 2, r / 2, y + plain);
    }
}

}  // namespace

#pragma once

#include <cstdint>

// y = RoPE of x: `rows` rows of `dim` numbers, all at one position. The last r numbers turn in pairs, the rest is copied.
// `table` holds r/2 cosines, then r/2 sines. Su et al., arXiv 2104.09864, eq. 34.
struct RotateTable {
    void (*neighbours)(const float* x, int64_t rows, int64_t dim, const float* table, int64_t r, float* y);  // (2i, 2i+1)
    void (*halves)(const float* x, int64_t rows, int64_t dim, const float* table, int64_t r, float* y);      // (i, i+r/2)
};

extern const RotateTable rotate_scalar, rotate_neon, rotate_avx2, rotate_avx512;
const RotateTable& rotate_table();

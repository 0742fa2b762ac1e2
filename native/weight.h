#pragma once

#include <cstdint>

// Members that kernels of every instruction set use: a copy of their own in each, never one that the linker picked.
#define INLINE __attribute__((always_inline))

// A matrix in its stored blocks: `rows` rows of `cols` numbers, each row `row_bytes` long. Points into a mapped file
// or an array; owns nothing.
// Format numbers are GGML's (ggml.h, enum ggml_type), except those from 1000 on, which GGML does not have. Those in lanes
// or panels are the same numbers in another order, and in memory only (ops/linear/arrange.h).
enum class Format : int {
    F32 = 0, F16 = 1, Q4_0 = 2, Q4_1 = 3, Q5_0 = 6, Q5_1 = 7, Q8_0 = 8,
    Q2_K = 10, Q3_K = 11, Q4_K = 12, Q5_K = 13, Q6_K = 14, IQ4_NL = 20, IQ4_XS = 23, BF16 = 30, MXFP4 = 39,
    F8_E4M3 = 1000, D4 = 1001, D8 = 1002,
    Q4_0_LANES = 1003, Q4_1_LANES = 1004, Q4_K_LANES = 1005, Q6_K_LANES = 1006,
    Q4_0_PANELS = 1007, Q4_1_PANELS = 1008, Q8_0_PANELS = 1009, Q4_K_PANELS = 1010, Q6_K_PANELS = 1011,
};

constexpr bool is_in_lanes(Format format) { return format >= Format::Q4_0_LANES && format <= Format::Q6_K_LANES; }
constexpr bool is_in_panels(Format format) { return format >= Format::Q4_0_PANELS && format <= Format::Q6_K_PANELS; }

class Moving;

struct Weight {
    Format format;
    const uint8_t* data;
    int64_t rows, cols, row_bytes;
    // F8_E4M3 only: one float32 scale per 128x128 block, row-major, ceil(cols/128) a row; first_row is where this
    // matrix starts within its blocks when it is a slice of a larger one.
    const float* scales = nullptr;
    int64_t scale_stride = 0, first_row = 0;
    Moving* moving = nullptr;  // of a matrix that is not all where `data` says yet: ops/linear/moving.h

    // In panels: where the panel that begins with this row lies.
    INLINE const uint8_t* row(int64_t r) const { return data + r * row_bytes; }
};

#pragma once

#include "ops/attention/row_tile.h"

// One head's keys and values of a stretch, made from latents, laid out for bfloat16 dots:
//   keys    [group of 16 tokens][pair of columns][16 tokens][2]
//   values  [pair of tokens][group of 16 columns][16 columns][2]
// with zeros where tokens or columns end.
constexpr int stretch_keys = 256;

constexpr int64_t key_words(int64_t dim) { return stretch_keys * ((dim + 1) / 2 * 2); }
constexpr int64_t value_words(int64_t dim) { return stretch_keys * padded(dim); }

struct HeadStretch {
    const uint16_t *keys, *values;
    int count;                // keys
    int64_t dim, value_dim;
};

// Rows of float32 (count, dim) and (count, value_dim) into that layout.
void lay_out_avx512bf16(const float* keys, const float* values, int count, int64_t dim, int64_t value_dim, uint16_t* k, uint16_t* v);
// A tile's rows over the stretch's keys, which stand at positions first, first + 1, ...
void attend_stretch_avx512bf16(const HeadStretch& stretch, int64_t first, float scale, RowTile* tile, float* sums);

#pragma once

#include "ops/attention/row_tile.h"

// One head's keys and values of a stretch, made from latents, laid out for the fastest dots there are. Of bfloat16:
//   keys    [group of 16 tokens][pair of columns][16 tokens][2]
//   values  [pair of tokens][group of 16 columns][16 columns][2]
// and of whole numbers (ops/attention/words.avx2.h), with each row's unit behind all of them:
//   keys    [token][columns]
//   values  [64 tokens][group of 16 columns][pair of tokens][16 columns][2]
// with zeros where tokens or columns end.
constexpr int stretch_keys = 256;

constexpr int64_t stretch_words(int64_t dim) { return stretch_keys * (padded(dim) + 2); }

struct HeadStretch {
    const uint16_t *keys, *values;
    int count;                // keys
    int64_t dim, value_dim;
};

struct StretchTable {
    // Rows of float32 (count, dim) and (count, value_dim) into that layout.
    void (*lay_out)(const float* keys, const float* values, int count, int64_t dim, int64_t value_dim, uint16_t* k, uint16_t* v);
    // A tile's rows over the stretch's keys, which stand at positions first, first + 1, ...
    void (*attend)(const HeadStretch& stretch, int64_t first, float scale, RowTile* tile, float* sums);
};

extern const StretchTable stretch_avx512bf16, stretch_amx, stretch_avx2;
const StretchTable* stretch_table();  // null: keys and values stay float32

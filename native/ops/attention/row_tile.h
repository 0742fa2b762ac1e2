#pragma once

#include "ops/attention/cache.h"

// Rows of weighted values are kept this wide, so that kernels may write whole vectors.
constexpr int64_t padded(int64_t width) { return (width + 15) / 16 * 16; }

// Up to tile_rows query rows on their way along the keys of one sequence.
struct RowTile {
    int rows = 0;
    const float* q[tile_rows];
    int64_t first[tile_rows], last[tile_rows];  // positions that a row sees
    Softmax states[tile_rows];

    void add(const float* query, int64_t first_seen, int64_t last_seen);
    // Takes in keys and values that stand at positions key, key + 1, ...; sums: (rows, padded(value_dim)).
    void attend(const RowSet& keys, const RowSet& values, int64_t key, int64_t dim, int64_t value_dim, float scale, float* sums);
    // Row i's result, once all keys are in.
    void finish(int i, const float* sums, int64_t value_dim, float* out) const;
};

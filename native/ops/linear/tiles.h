#pragma once

#include "linear.h"

// Many tokens against weights in panels, in bfloat16 where the processor multiplies tiles of it (AMX): weights are widened once for
// all tokens, their scales in them, so that sums of a whole row stay in float32 and nothing is left to scale. Activations lie as
//   [16 tokens][32 columns][token][column]
// so that a tile is 1 KB in one piece; tokens past the last one are never read.
constexpr int tile_tokens = 16, tile_columns = 32, tile_numbers = tile_tokens * tile_columns;

// T rows of cols numbers, of which the last 16 tokens have room to themselves.
constexpr int64_t tiles_size(int64_t T, int64_t cols) { return (T + tile_tokens - 1) / tile_tokens * tile_tokens * cols; }

struct TileTable {
    // So many tokens. Widening the weights costs as much as multiplying them by some fifteen in int8; fewer sequences than this decode with
    // the same bits as one.
    int64_t from;
    // 32 numbers of a token rounded.
    void (*put)(const float* x, uint16_t* out);
    // As LinearTable's panel: in.tiles, and w in panels.
    void (*panel)(const Weight& w, int64_t first, const Input& in, float* out, int64_t stride);
};

extern const TileTable tiles_amx;
const TileTable* tile_table();  // null: there are none

// Where a token's numbers from column `column` on (a multiple of 32) lie.
inline uint16_t* tile_place(uint16_t* tiles, int64_t cols, int64_t token, int64_t column) {
    return tiles + token / tile_tokens * tile_tokens * cols + column / tile_columns * tile_numbers + token % tile_tokens * tile_columns;
}

// Whether T tokens are multiplied by w in tiles.
inline bool takes_tiles(const Weight& w, int64_t T) { return is_in_panels(w.format) && tile_table() && T >= tile_table()->from; }

// Rows begin .. end of an input's floats into tiles.
void pack_tiles(const Input& in, int64_t begin, int64_t end, uint16_t* tiles);

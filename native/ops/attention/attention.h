#pragma once

#include <cstdint>

#include "ops/attention/ahead.h"

// The three steps of attention over a tile of at most `tile_rows` query rows and `tile_keys` cached keys, with the softmax
// carried along (Milakov & Gimelshein, arXiv 1805.02867; Dao et al., arXiv 2205.14135). All sums are float32.
constexpr int tile_rows = 64;
constexpr int tile_keys = 64;

// Rows of a cache, float32 or bfloat16, wherever they lie. ahead: what is fetched while these are multiplied, so many lines with each
// row for each block of queries; or null.
struct RowSet {
    const uint8_t* rows[tile_keys];
    int count;
    bool bfloat;
    Ahead* ahead = nullptr;
    int lines = 0;

    // With `some` of the columns of n rows.
    __attribute__((always_inline)) void fetch_ahead(int n, int64_t some = 1, int64_t columns = 1) const {
        if (ahead) ahead->fetch(n * lines * some / columns);
    }
};

// A head's part of a row is too short for the processor to foresee the next one's, and up to this many query rows take less
// time than memory does.
constexpr int waiting_rows = 16;
inline void fetch_row(const RowSet& set, int j, int64_t numbers) {
    for (int64_t byte = 0; byte < numbers * (set.bfloat ? 2 : 4); byte += 64) __builtin_prefetch(set.rows[j] + byte);
}

// What a query row carries from tile to tile: the largest score, the sum of exp(score - largest), and by how much the
// current tile's maximum makes the earlier sums shrink.
struct Softmax {
    float largest, sum, shrink;
};

struct AttentionTable {
    // s[i * tile_keys + j] = dot(q[i], keys.rows[j]), for i < m; columns up to tile_keys may be overwritten.
    void (*scores)(const float* const* q, int m, const RowSet& keys, int64_t dim, float* s);
    // s[0..count) -> exp(scale * s - largest) with state updated; the columns behind are set to 0.
    void (*soften)(float* s, int count, float scale, Softmax* state);
    // sums[i * stride + d] = sums * states[i].shrink + sum over j of p[i * tile_keys + j] * values.rows[j][d].
    // states may be null: nothing shrinks. Columns are written up to dim rounded up to 16, which stride must hold.
    void (*values)(const float* p, int m, const RowSet& values, int64_t dim, const Softmax* states, float* sums, int64_t stride);
    // n numbers as bfloat16, rounded to nearest even.
    void (*narrow)(const float* x, int64_t n, uint16_t* y);
    // Whether bfloat16 rows go faster than float32 ones, at the price of rounding queries and weights to bfloat16 too.
    bool bfloat_dot;
};

extern const AttentionTable attention_scalar, attention_neon, attention_avx2, attention_avx512, attention_avx512bf16, attention_amx;
const AttentionTable& attention_table();

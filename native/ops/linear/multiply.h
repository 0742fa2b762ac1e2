#pragma once

#include <vector>

#include "linear.h"

// y (T, w.rows) = x w^T + bias. bias may be null.
struct Product {
    const Weight* w;
    const float* bias;
    float* y;
};

// Several matrices over the same x (T, cols): activations are rounded once, and one fork-join serves all.
void multiply(const float* x, int64_t T, int64_t cols, const std::vector<Product>& products);

bool is_block_format(Format format);

// A thread that begins to read weights, after a wait or far from the last: the kernels fetch only what comes later.
inline void fetch_first(const Weight& w, int64_t row) {
    const int64_t far = fetches_in_turn() ? stretch_bytes : fetched_ahead(w);
    for (int64_t at = 0; at < far; at += 64) __builtin_prefetch(w.row(row) + at, 0, 2);
}

// How many panels a thread should take at a time, of all `panels`, which are `bytes` of weights.
int64_t panels_of_piece(int64_t panels, int64_t bytes);

// How many tokens' activations stay in L2 while a thread's panels pass over them: in dozens, as kernels take 4 or 6 at a time; of tiles in
// multiples of 16.
int64_t tokens_of_block(int64_t cols, bool tiles);

// x's rows as chunks; `chunks` holds T * chunk_stride(cols) of them. Large inputs are shared out to the pool.
void prepare(const float* x, int64_t T, int64_t cols, Chunk* chunks);

// The same two for the calling thread alone, within a job of the pool.
// out[t * stride + r] = row r of w times row t of the input.
void prepare_here(const float* x, int64_t T, int64_t cols, Chunk* chunks);
void multiply_here(const Weight& w, const Input& in, float* out, int64_t stride);

#pragma once

#include <cstdint>

#include "in_turn.h"
#include "weight.h"

// y = W x for a matrix W in any stored format.
//
// Block formats: every one of them is value = a * (u - zero) or a * u + b, with u an unsigned byte and a, b shared by a
// group of 16 or 32 columns. Activations are rounded to int8 in groups of 32 (d = absmax / 127), so that
//   y = sum over groups of  a * d * (dot(u, q) - zero * sum(q))   or   a * d * dot(u, q) + b * d * sum(q)
// with exact int32 sums inside a group and float32 sums over groups.
// Float formats: weights widened exactly, float32 fma with float32 activations.

constexpr int chunk_cols = 256;  // the widest block; all matrices are walked in chunks of this many columns
constexpr int panel_rows = 32;

// Decoding goes over so many rows in step, and weights are on their way into L2 so many bytes ahead of them: to the last of
// the rows, and some 300 ns of one core's reading.
constexpr int rows_in_step = 4;
INLINE inline int64_t fetched_ahead(const Weight& w) { return (rows_in_step - 1) * w.row_bytes + 4608; }

// Weights on their way into L2, a line for each that is read: of those up to `end`, and of those that the thread goes on with, `jump`
// bytes behind.
struct Later {
    const uint8_t* end;
    int64_t jump, far;  // far: so many bytes ahead; 0: in turn

    INLINE Later(const Weight& w, const uint8_t* end, const uint8_t* next)
        : end(end), jump(next ? next - end : 0), far(fetches_in_turn() ? 0 : fetched_ahead(w)) {}

    INLINE void fetch(const uint8_t* p) const {
        const uint8_t* wanted = far ? p + far : in_turn(p);
        __builtin_prefetch(wanted < end ? wanted : wanted + jump, 0, 2);
    }
};

// 256 activations as int8, all in the order that the instruction set's kernels read them; what is past the matrix's columns
// is zero, or the same again (ends.avx2.h).
struct alignas(64) Chunk {
    int8_t q[chunk_cols];
    float scale[16];      // of each 32: twice side by side, as two lanes of 512 bits belong to each (AVX2: 8 and 8)
    float sum16[16];      // scale * sum of q, of each 16
    int32_t minus16[16];  // -sum of q, of each 16 (AVX2: the first of each 32, then the second ones)
    int32_t minus32[8];   // the two of each 32
    float sum32[8];
};

INLINE inline int64_t chunks_of(int64_t cols) { return (cols + chunk_cols - 1) / chunk_cols; }
// From one row's chunks to the next row's: odd, since rows a power of two apart would share a few sets of the caches.
INLINE inline int64_t chunk_stride(int64_t cols) { return chunks_of(cols) | 1; }

// The right-hand side: T rows of `cols` numbers. Row i is row tokens[i] of the arrays, or row i where tokens is null.
struct Input {
    const float* x;       // (rows, cols), read by the float formats
    const Chunk* chunks;  // (rows, chunk_stride(cols)), read by the block formats
    int64_t cols, T;
    const int32_t* tokens = nullptr;
    const uint16_t* tiles = nullptr;  // its T rows rounded to bfloat16: tiles.h
    // What this thread reads after these weights, if it does not lie right behind them. Where nothing is known to follow,
    // something that it has just read: fetching that again costs nothing.
    const uint8_t* next = nullptr;

    // n rows from row t on; of tiles, t is a multiple of 16.
    INLINE Input part(int64_t t, int64_t n) const {
        Input some = *this;
        some.T = n;
        if (tokens) some.tokens += t;
        else if (chunks) some.chunks += t * chunk_stride(cols);
        if (!tokens && x) some.x += t * cols;
        if (tiles) some.tiles += t * cols;
        return some;
    }
    INLINE int64_t row(int64_t i) const { return tokens ? tokens[i] : i; }
    INLINE int64_t chunk_count() const { return chunks_of(cols); }
    INLINE const float* floats(int64_t i) const { return x + row(i) * cols; }
    INLINE const Chunk* quantized(int64_t i) const { return chunks + row(i) * chunk_stride(cols); }
};

struct LinearTable {
    // The first n (at most 256) numbers of x into a chunk. A NaN or infinity makes its group's scale one.
    void (*prepare)(const float* x, int64_t n, Chunk* chunk);
    // 32 numbers into group g of a chunk that has `groups` of them.
    void (*prepare_group)(const float* x, int g, int groups, Chunk* chunk);
    // out[t * stride + r] for rows first .. first + n (n <= panel_rows) and all T of the input. A row's result depends
    // neither on n nor, up to where matrix tiles take over, on T.
    void (*panel)(const Weight& w, int64_t first, int64_t n, const Input& in, float* out, int64_t stride);
    // Row r as float32, bit-equal to the format's definition.
    void (*decode)(const Weight& w, int64_t r, float* out);
    // h = g / (1 + exp(-g)) * u
    void (*swish)(const float* g, const float* u, float* h, int64_t n);
};

extern const LinearTable linear_scalar, linear_avx2, linear_avx512, linear_neon;
const LinearTable& linear_table();

#pragma once

// Scores: a block of R query rows and K keys keeps R * K sums in registers (12 of 16 registers do better than 8, which
// wait for each other); a step along the head loads R + K vectors for R * K fma. Their lanes are added at the end by a
// tree that leaves one score in each lane.
// Values: R rows by C vectors of sums stay in registers while all keys pass: C loads and R broadcasts for R * C fma.

#include <cmath>

#include "attention.h"
#include "vector.h"

namespace {

// The columns from d on, fewer than a vector's. Apart, so that score_block's sums need no memory.
template <class T, int R, int K>
__attribute__((noinline)) void score_rest(const float* const* q, const T* const* k, int64_t d, int64_t dim, Floats* out) {
    for (int j = 0; j < K; ++j) {
        Floats y = load_part(k[j] + d, dim - d);
        for (int i = 0; i < R; ++i) out[i * K + j] = load_part(q[i] + d, dim - d) * y;
    }
}

template <class T, int R, int K>
INLINE void score_block(const float* const* q, const T* const* k, int64_t dim, float* s) {
    constexpr int scores = (R * K + lanes - 1) / lanes * lanes;
    Floats total[scores] = {};
    int64_t d = 0;
    for (; d + lanes <= dim; d += lanes) {
        Floats x[R];
        for (int i = 0; i < R; ++i) x[i] = load(q[i] + d);
        for (int j = 0; j < K; ++j) {
            Floats y = load(k[j] + d);
            for (int i = 0; i < R; ++i) total[i * K + j] = fma(x[i], y, total[i * K + j]);
        }
    }
    if (d < dim) {
        Floats rest[R * K];
        score_rest<T, R, K>(q, k, d, dim, rest);
        for (int i = 0; i < R * K; ++i) total[i] += rest[i];
    }
    float flat[scores];
    for (int i = 0; i < scores; i += lanes) store(flat + i, sums(total + i));
    for (int i = 0; i < R; ++i) std::memcpy(s + i * tile_keys, flat + i * K, sizeof(float) * K);
}

// Keys behind the last are stood in for by the last: their scores are thrown away.
template <class T, int R>
void score_rows(const float* const* q, const RowSet& keys, int64_t dim, float* s, bool waits) {
    constexpr int block = registers == 32 ? 16 : 8, K = R == 3 ? 4 : block / R;
    for (int j = 0; j < keys.count; j += K) {
        keys.fetch_ahead(K);
        for (int i = j + 2 * K; waits && i < j + 3 * K && i < keys.count; ++i) fetch_row(keys, i, dim);
        const T* k[K];
        for (int i = 0; i < K; ++i) k[i] = reinterpret_cast<const T*>(keys.rows[j + i < keys.count ? j + i : keys.count - 1]);
        score_block<T, R, K>(q, k, dim, s + j);
    }
}

template <class T>
void score_tile(const float* const* q, int m, const RowSet& keys, int64_t dim, float* s) {
    constexpr int most = registers == 32 ? 4 : 3;
    const bool waits = m <= waiting_rows;
    auto rows = [&]<int R>(int i) { score_rows<T, R>(q + i, keys, dim, s + i * tile_keys, waits && i == 0); };
    for (int i = 0, n; i < m; i += n) {
        const int left = m - i;
        n = left >= most && (most == 4 || left != 4) ? most : left >= 2 ? 2 : 1;
        if (n == most) rows.template operator()<most>(i);
        else if (n == 2) rows.template operator()<2>(i);
        else rows.template operator()<1>(i);
    }
}

// For many query rows short keys and values are widened once: in L1 they cost one load then, for three instructions each time.
constexpr int64_t widened_dim = 128;

bool widening_pays(int m, int64_t dim) { return m > waiting_rows && dim <= widened_dim && dim % lanes == 0; }

RowSet widened(const RowSet& set, int64_t dim) {
    alignas(64) static thread_local float memory[tile_keys * widened_dim];
    RowSet wide = set;
    wide.bfloat = false;
    float* out = memory;
    for (int j = 0; j < set.count; ++j, out += dim) {
        const Bfloat* row = reinterpret_cast<const Bfloat*>(set.rows[j]);
        for (int64_t d = 0; d < dim; d += lanes) store(out + d, load(row + d));
        wide.rows[j] = reinterpret_cast<const uint8_t*>(out);
    }
    return wide;
}

void scores(const float* const* q, int m, const RowSet& keys, int64_t dim, float* s) {
    if (!keys.bfloat) score_tile<float>(q, m, keys, dim, s);
    else if (!widening_pays(m, dim)) score_tile<Bfloat>(q, m, keys, dim, s);
    else score_tile<float>(q, m, widened(keys, dim), dim, s);
}

void soften(float* s, int count, float scale, Softmax* state) {
    for (int j = count; j < tile_keys; ++j) s[j] = -INFINITY;
    Floats most = broadcast(-INFINITY), factor = broadcast(scale);
    for (int j = 0; j < tile_keys; j += lanes) {
        Floats x = load(s + j) * factor;
        store(s + j, x);
        most = larger(x, most);
    }
    float largest = maximum(most);
    largest = largest > state->largest ? largest : state->largest;
    Floats base = broadcast(largest == -INFINITY ? 0.0f : largest), total = zeros();
    for (int j = 0; j < tile_keys; j += lanes) {
        Floats p = exponential(load(s + j) - base);
        store(s + j, p);
        total = total + p;
    }
    state->shrink = state->largest == largest ? 1.0f : std::exp(state->largest - largest);
    state->sum = state->sum * state->shrink + sum(total);
    state->largest = largest;
}

constexpr int rows_of_fetch = 8;

template <class T, int R, int C>
INLINE void value_block(const float* p, const RowSet& values, int64_t d, int64_t dim, int64_t part, const Softmax* states, float* sums, int64_t stride) {
    Floats total[R][C];
    for (int i = 0; i < R; ++i)
        for (int c = 0; c < C; ++c) {
            total[i][c] = load(sums + i * stride + c * lanes);
            if (states) total[i][c] *= broadcast(states[i].shrink);
        }
    for (int j = 0; j < values.count; ++j) {
        if (j % rows_of_fetch == 0) values.fetch_ahead(rows_of_fetch, C * lanes, dim);
        const T* row = reinterpret_cast<const T*>(values.rows[j]) + d;
        Floats v[C];
        for (int c = 0; c < C; ++c) v[c] = part ? load_part(row, part) : load(row + c * lanes);
        for (int i = 0; i < R; ++i) {
            Floats weight = broadcast(p[i * tile_keys + j]);
            for (int c = 0; c < C; ++c) total[i][c] = fma(weight, v[c], total[i][c]);
        }
    }
    for (int i = 0; i < R; ++i)
        for (int c = 0; c < C; ++c) store(sums + i * stride + c * lanes, total[i][c]);
}

template <class T, int R>
void value_rows(const float* p, const RowSet& values, int64_t dim, const Softmax* states, float* sums, int64_t stride) {
    constexpr int C = registers == 32 ? 4 : 2;
    int64_t d = 0;
    for (; d + C * lanes <= dim; d += C * lanes) value_block<T, R, C>(p, values, d, dim, 0, states, sums + d, stride);
    for (; d + lanes <= dim; d += lanes) value_block<T, R, 1>(p, values, d, dim, 0, states, sums + d, stride);
    if (d < dim) value_block<T, R, 1>(p, values, d, dim, dim - d, states, sums + d, stride);
}

template <class T>
void value_tile(const float* p, int m, const RowSet& values, int64_t dim, const Softmax* states, float* sums, int64_t stride) {
    auto rows = [&]<int R>(int i) {
        value_rows<T, R>(p + i * tile_keys, values, dim, states ? states + i : nullptr, sums + i * stride, stride);
    };
    for (int i = 0, n; i < m; i += n) {
        const int left = m - i;
        n = left >= 6 ? 6 : left >= 4 ? 4 : left;
        if (n == 6) rows.template operator()<6>(i);
        else if (n == 4) rows.template operator()<4>(i);
        else if (n == 3) rows.template operator()<3>(i);
        else if (n == 2) rows.template operator()<2>(i);
        else rows.template operator()<1>(i);
    }
}

void values(const float* p, int m, const RowSet& rows, int64_t dim, const Softmax* states, float* sums, int64_t stride) {
    if (!rows.bfloat) value_tile<float>(p, m, rows, dim, states, sums, stride);
    else if (!widening_pays(m, dim)) value_tile<Bfloat>(p, m, rows, dim, states, sums, stride);
    else value_tile<float>(p, m, widened(rows, dim), dim, states, sums, stride);
}

void narrow(const float* x, int64_t n, uint16_t* y) {
    for (int64_t i = 0; i < n; ++i) {
        uint32_t bits;
        std::memcpy(&bits, x + i, sizeof bits);
        bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
        y[i] = static_cast<uint16_t>((nan ? bits | 0x400000u : bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
    }
}

}  // namespace

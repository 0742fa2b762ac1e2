#pragma once

#include "tiles.avx2.h"

// Float formats. A lane is every eighth column, and a row has one sum: 128 columns after each other for FP8, whose scales
// multiply them, else all. Few tokens take weights as they lie, 2 or 4 rows in step so that sums need not wait for one
// another; many take them from a panel that is widened once, 4 rows by 3 tokens: 12 fma for 7 loads.
namespace {

constexpr int float_rows_at_once = 4, float_tokens = 3;

// Weights as they lie, or widened.
template <class S, class F>
struct Stored {
    const uint8_t* p;
    __m256 at(int64_t k) const { return F::template several<S>(p + k * F::bytes); }
    __m256 part(int64_t k, int64_t n) const {
        alignas(32) float wide[8] = {};
        for (int64_t j = 0; j < n; ++j) wide[j] = F::one(p + (k + j) * F::bytes);
        return _mm256_load_ps(wide);
    }
};
template <class S>
struct Widened {
    const float* p;
    __m256 at(int64_t k) const { return _mm256_loadu_ps(p + k); }
    __m256 part(int64_t k, int64_t n) const { return S::load_part(p + k, n); }
};

// sum[i][r] += x[i] times row r.
template <class S, int R, int N, class Row>
inline void add_columns(const Row* rows, const float* const* x, int64_t columns, __m256 (*sum)[R]) {
    int64_t k = 0;
    for (; k + 8 <= columns; k += 8) {
        __m256 v[N];
        for (int i = 0; i < N; ++i) v[i] = _mm256_loadu_ps(x[i] + k);
        for (int r = 0; r < R; ++r) {
            __m256 w = rows[r].at(k);
            for (int i = 0; i < N; ++i) sum[i][r] = _mm256_fmadd_ps(w, v[i], sum[i][r]);
        }
    }
    if (k == columns) return;
    for (int r = 0; r < R; ++r) {
        __m256 w = rows[r].part(k, columns - k);
        for (int i = 0; i < N; ++i) sum[i][r] = _mm256_fmadd_ps(w, S::load_part(x[i] + k, columns - k), sum[i][r]);
    }
}

// The same where columns share a scale, one of each row.
template <class S, int R, int N, class Row>
inline void add_scaled_columns(const Row* rows, const float* scales, const float* const* x, int64_t columns, __m256 (*sum)[R]) {
    __m256 part[N][R];
    for (int i = 0; i < N; ++i)
        for (int r = 0; r < R; ++r) part[i][r] = _mm256_setzero_ps();
    add_columns<S, R, N>(rows, x, columns, part);
    for (int i = 0; i < N; ++i)
        for (int r = 0; r < R; ++r) sum[i][r] = _mm256_fmadd_ps(part[i][r], _mm256_set1_ps(scales[r]), sum[i][r]);
}

template <class S, class F, int R, int N>
inline void step_of_floats(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, float* out, int64_t stride) {
    __m256 sum[N][R];
    for (int i = 0; i < N; ++i)
        for (int r = 0; r < R; ++r) sum[i][r] = _mm256_setzero_ps();
    const int64_t step = F::scaled ? float_step : in.cols;
    for (int64_t c = 0; c < in.cols; c += step) {
        int64_t columns = in.cols - c < step ? in.cols - c : step;
        const float* x[N];
        Stored<S, F> rows[R];
        float scales[R];
        for (int i = 0; i < N; ++i) x[i] = in.floats(t + i) + c;
        for (int r = 0; r < R; ++r) {
            int64_t row = first + (r < n ? r : n - 1);
            rows[r].p = w.row(row) + c * F::bytes, scales[r] = block_scale(w, row, c);
        }
        if constexpr (F::scaled) add_scaled_columns<S, R, N>(rows, scales, x, columns, sum);
        else add_columns<S, R, N>(rows, x, columns, sum);
    }
    for (int i = 0; i < N; ++i)
        for (int r = 0; r < R && r < n; ++r) out[(t + i) * stride + r] = S::total(sum[i][r]);
}

template <class S, class F, int N>
inline void rows_of_floats(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, float* out, int64_t stride) {
    constexpr int R = N <= 2 ? 4 : 2;
    for (int64_t r = 0; r < n; r += R) step_of_floats<S, F, R, N>(w, first + r, n - r, in, t, out + r, stride);
}

// 128 columns of a panel, side by side: rows as they lie are often a power of two apart.
template <class S>
struct FloatPanel {
    alignas(32) float wide[panel_rows][float_step];
    Widened<S> rows[panel_rows];
    float scales[panel_rows];

    template <class F>
    void fill(const Weight& w, int64_t first, int64_t n, int64_t c, int64_t columns) {
        for (int64_t r = 0; r < padded_rows(n, float_rows_at_once); ++r) {
            int64_t row = first + (r < n ? r : n - 1);
            const uint8_t* p = w.row(row) + c * F::bytes;
            scales[r] = block_scale(w, row, c);
            Stored<S, F> stored{p};
            for (int64_t k = 0; k < columns; k += 8)
                _mm256_store_ps(wide[r] + k, columns - k >= 8 ? stored.at(k) : stored.part(k, columns - k));
            rows[r].p = wide[r];
        }
    }
};

template <class S, class F>
void floats_of_tokens(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t begin, int64_t end, float* out, int64_t stride) {
    constexpr int R = float_rows_at_once;
    FloatPanel<S> panel;
    const uint8_t* next = in.next ? in.next : w.row(first + n);
    for (int64_t c = 0; c < in.cols; c += float_step) {
        int64_t columns = in.cols - c < float_step ? in.cols - c : float_step, last = (c + columns) * F::bytes;
        Fetching fetching{w, n, w.row(first) + (last < w.row_bytes ? last : 0), float_step * F::bytes, next, n * c * F::bytes, n * last};
        panel.template fill<F>(w, first, n, c, columns);
        by_runs<float_tokens>(end - begin, [&]<int N>(int64_t t) {
            fetching.fetch(t, t + N, end - begin);
            const float* x[N];
            for (int i = 0; i < N; ++i) {
                x[i] = in.floats(begin + t + i) + c;
                if (begin + t + N + i < end) fetch_now(in.floats(begin + t + N + i) + c, columns * sizeof(float));
            }
            for (int64_t r = 0; r < n; r += R) {
                __m256 sum[N][R];
                for (int i = 0; i < N; ++i)
                    for (int j = 0; j < R; ++j) sum[i][j] = c ? token_sums[t + i].rows[r + j] : _mm256_setzero_ps();
                if constexpr (F::scaled) add_scaled_columns<S, R, N>(panel.rows + r, panel.scales + r, x, columns, sum);
                else add_columns<S, R, N>(panel.rows + r, x, columns, sum);
                for (int i = 0; i < N; ++i)
                    for (int j = 0; j < R; ++j) token_sums[t + i].rows[r + j] = sum[i][j];
            }
            if (c + columns == in.cols)
                for (int i = 0; i < N; ++i) put_totals(token_sums[t + i].rows, n, out + (begin + t + i) * stride);
        });
    }
}

}  // namespace

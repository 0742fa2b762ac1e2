#pragma once

#include "across.avx512.h"

// A few tokens: rows of W are multiplied as they lie. A vector holds 8 columns of each of a chunk's 8 groups, so that four
// dot products add up in one register, whose lanes 2g and 2g + 1 belong to group g: one conversion, one multiply and one fma
// serve 256 columns. Four rows go in step, so that a chunk of activations comes into L1 once for four rows, and from there into
// registers once for two.
//
// Weights come from memory in the order in which they lie, whatever the order of use: the hardware fetches ahead along one
// stream to a page, and rows in step look to it like several. So L2 is filled by prefetches that follow the bytes. It is L2
// because a core waits for no more than some 24 lines on their way into L1: 15 GB/s at 100 ns.
namespace {


// Activations of one token and chunk. start: what the dot products begin with, so that u counts from V::zero.
template <class V>
struct Loaded {
    __m512i q[4], start;
    __m512 scale, sums;

    explicit Loaded(const Chunk& x) : start(_mm512_setzero_si512()), scale(_mm512_load_ps(x.scale)), sums(_mm512_setzero_ps()) {
        for (int k = 0; k < 4; ++k) q[k] = _mm512_load_si512(x.q + 64 * k);
        if constexpr (!V::offset) start = _mm512_mullo_epi32(_mm512_load_si512(x.minus16), _mm512_set1_epi32(V::zero));
        else if constexpr (minima_last<V>) sums = _mm512_maskz_load_ps(0xff00, x.minus32);
        else sums = _mm512_load_ps(x.sum16);
    }
};

// Of 16 numbers, the even ones twice each, or the odd ones.
template <int Odd>
inline __m512 alternate(__m512 v) {
    return _mm512_permute_ps(v, Odd ? 0xf5 : 0xa0);
}

inline __m512i dot(__m512i sum, const __m512i* u, const __m512i* q) { return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sum, u[0], q[0]), u[1], q[1]); }

inline __m512 add_scaled(__m512i dots, __m512 a, __m512 scale, __m512 sum) {
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), _mm512_mul_ps(a, scale), sum);
}

// One chunk of one row and token.
template <class V>
inline __m512 add_chunk(const __m512i* u, const Scales& s, const Loaded<V>& x, __m512 sum) {
    if constexpr (V::group == 32) {
        sum = add_scaled(dot(dot(x.start, u, x.q), u + 2, x.q + 2), s.a, x.scale, sum);
    } else {
        sum = add_scaled(dot(_mm512_maskz_mov_epi32(0x5555, x.start), u, x.q), alternate<0>(s.a), x.scale, sum);
        sum = add_scaled(dot(_mm512_maskz_mov_epi32(0xaaaa, x.start), u + 2, x.q + 2), alternate<1>(s.a), x.scale, sum);
    }
    return V::offset ? _mm512_fmadd_ps(s.b, x.sums, sum) : sum;
}

// Chunk c of the rows in step, at p, and N tokens.
template <class V, int N>
inline void add_chunks(const uint8_t* const* p, const Chunk* const* x, int64_t c, __m512 (*sum)[N]) {
    Scales s[rows_in_step];
    row_scales<V, rows_in_step>(p, s);
    for (int r = 0; r < rows_in_step; r += 2) {
        __m512i u[2][4];
        for (int j = 0; j < 2; ++j) V::quads(p[r + j], u[j]);
        for (int i = 0; i < N; ++i) {
            Loaded<V> loaded(x[i][c]);
            for (int j = 0; j < 2; ++j) sum[r + j][i] = add_chunk<V>(u[j], s[r + j], loaded, sum[r + j][i]);
        }
    }
}

// Rows first .. first + n as block_rows below, n <= rows_in_step: what is computed for rows past the last is the last one again.
template <class B, int N>
inline void step_of_rows(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, const uint8_t* end, float* out, int64_t stride) {
    using V = typename B::Vector;
    // Past the end of a row come the next one's blocks, which meet zeros, unless a short chunk is laid out differently. Past
    // the matrix nothing may be read.
    constexpr bool reads_on = !requires(uint8_t* p) { V::spread(p, 0, p); };
    const Later later(w, end, in.next);
    const Chunk* x[N];
    const uint8_t* p[rows_in_step];
    __m512 sum[rows_in_step][N];
    for (int i = 0; i < N; ++i) x[i] = in.quantized(t + i);
    for (int r = 0; r < rows_in_step; ++r) p[r] = w.row(first + (r < n ? r : n - 1));
    for (int r = 0; r < rows_in_step; ++r)
        for (int i = 0; i < N; ++i) sum[r][i] = _mm512_setzero_ps();
    int64_t whole = in.cols / chunk_cols, left = in.cols % chunk_cols;
    const uint8_t* read = p[0];
    auto fetch = [&] {
        for (int64_t line = 0; line < rows_in_step * V::chunk_bytes; line += 64) later.fetch(read + line);
        read += rows_in_step * V::chunk_bytes;
    };
    for (int64_t c = 0; c < whole; ++c) {
        fetch();
        add_chunks<V, N>(p, x, c, sum);
        for (int r = 0; r < rows_in_step; ++r) p[r] += V::chunk_bytes;
    }
    if (left) {
        fetch();
        alignas(64) uint8_t copies[rows_in_step][V::chunk_bytes + 64];
        for (int r = 0; r < rows_in_step; ++r)
            if (!reads_on || p[r] + V::chunk_bytes > w.row(w.rows)) p[r] = whole_chunk<V>(p[r], left, copies[r]);
        add_chunks<V, N>(p, x, whole, sum);
    }
    for (int r = 0; r < rows_in_step && r < n; ++r)
        for (int i = 0; i < N; ++i) out[(t + i) * stride + r] = _mm512_reduce_add_ps(sum[r][i]);
}

}  // namespace

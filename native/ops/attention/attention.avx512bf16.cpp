// vdpbf16ps: 32 products of bfloat16 a vector, two to a float32 lane, at the rate of an fma: twice the multiply-adds of
// float32 for half the bytes. Rows of a cache in bfloat16 need no widening; queries and weights are rounded to it once a
// tile, which costs one conversion for 32 to 64 dots. Rows in float32 take the plain kernels.
// Scores: 4 rows by 4 keys keep 16 sums; a step of 32 numbers loads 8 vectors for 16 dots.
// Values: a lane holds one column of two neighbouring keys, so two rows are interleaved by 2 permutes for each 32 columns;
// 6 rows by 4 vectors keep 24 sums: 4 loads, 4 permutes and 6 broadcasts for 24 dots.
#include "avx512.h"
#include "kernels.h"

#include <cstdlib>

namespace {

constexpr int pair_lanes = 32;

// n numbers rounded to nearest even, then zeros up to `padded`.
INLINE void round_row(const float* x, int64_t n, int64_t padded, uint16_t* y) {
    for (int64_t i = 0; i < padded; i += 16) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i), (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(first_lanes(n - i), x + i)));
    }
}

int64_t padded_pairs(int64_t n) { return (n + pair_lanes - 1) / pair_lanes * pair_lanes; }

// Scratch of a thread for a tile of rounded rows; grows to the widest head.
uint16_t* rounded_rows(int64_t count) {
    static thread_local struct Rows {
        uint16_t* data = nullptr;
        int64_t size = 0;
        ~Rows() { std::free(data); }
    } rows;
    if (count > rows.size) {
        std::free(rows.data);
        rows.data = static_cast<uint16_t*>(std::aligned_alloc(64, count * sizeof(uint16_t)));
        rows.size = rows.data ? count : 0;
        if (!rows.data) std::abort();
    }
    return rows.data;
}

template <int R, int K>
INLINE void dot_block(const uint16_t* q, int64_t stride, const uint16_t* const* k, int64_t dim, float* s) {
    __m512 total[R * K];
    for (int i = 0; i < R * K; ++i) total[i] = _mm512_setzero_ps();
    auto step = [&](int64_t d, auto take) __attribute__((always_inline)) {
        __m512i x[R];
        for (int i = 0; i < R; ++i) x[i] = words(q + i * stride + d);
        for (int j = 0; j < K; ++j) {
            __m512i y = take(k[j] + d);
            for (int i = 0; i < R; ++i) total[i * K + j] = _mm512_dpbf16_ps(total[i * K + j], bits(x[i]), bits(y));
        }
    };
    int64_t d = 0;
    for (; d + pair_lanes <= dim; d += pair_lanes) step(d, [](const uint16_t* p) __attribute__((always_inline)) { return words(p); });
    if (d < dim) step(d, [n = dim - d](const uint16_t* p) __attribute__((always_inline)) { return _mm512_maskz_loadu_epi16(first_words(n), p); });
    float flat[R * K];
    Floats sums_of[R * K];
    for (int i = 0; i < R * K; ++i) sums_of[i] = total[i];
    for (int i = 0; i < R * K; i += lanes) store(flat + i, sums(sums_of + i));
    for (int i = 0; i < R; ++i) std::memcpy(s + i * tile_keys, flat + i * K, sizeof(float) * K);
}

// Keys behind the last are stood in for by the last: their scores are thrown away.
template <int R>
void dot_rows(const uint16_t* q, int64_t stride, const RowSet& keys, int64_t dim, float* s) {
    constexpr int K = 16 / R;
    for (int j = 0; j < keys.count; j += K) {
        keys.fetch_ahead(K);
        const uint16_t* k[K];
        for (int i = 0; i < K; ++i) k[i] = reinterpret_cast<const uint16_t*>(keys.rows[j + i < keys.count ? j + i : keys.count - 1]);
        dot_block<R, K>(q, stride, k, dim, s + j);
    }
}

void dot_scores(const float* const* q, int m, const RowSet& keys, int64_t dim, float* s) {
    if (!keys.bfloat) return scores(q, m, keys, dim, s);
    int64_t stride = padded_pairs(dim);
    uint16_t* rows = rounded_rows(m * stride);
    for (int i = 0; i < m; ++i) round_row(q[i], dim, stride, rows + i * stride);
    int i = 0;
    for (; i + 4 <= m; i += 4) dot_rows<4>(rows + i * stride, stride, keys, dim, s + i * tile_keys);
    if (i + 2 <= m) dot_rows<2>(rows + i * stride, stride, keys, dim, s + i * tile_keys), i += 2;
    if (i < m) dot_rows<1>(rows + i * stride, stride, keys, dim, s + i * tile_keys);
}

// C pairs of vectors, 32 columns each, of which `columns` hold numbers. p: weights as pairs of bfloat16.
template <int R, int C>
INLINE void weigh_block(const uint32_t* p, const RowSet& values, int64_t d, int64_t dim, int64_t columns, const Softmax* states, float* sums, int64_t stride) {
    __m512 total[R][2 * C];
    for (int i = 0; i < R; ++i)
        for (int c = 0; c < 2 * C; ++c) {
            total[i][c] = 16 * c < columns ? _mm512_loadu_ps(sums + i * stride + 16 * c) : _mm512_setzero_ps();
            if (states) total[i][c] = _mm512_mul_ps(total[i][c], _mm512_set1_ps(states[i].shrink));
        }
    for (int j = 0; j < values.count; j += 2) {
        if (j % rows_of_fetch == 0) values.fetch_ahead(rows_of_fetch, 32 * C, dim);
        const uint16_t* a = reinterpret_cast<const uint16_t*>(values.rows[j]) + d;
        const uint16_t* b = reinterpret_cast<const uint16_t*>(values.rows[j + 1 < values.count ? j + 1 : j]) + d;
        __m512i v[2 * C];
        for (int c = 0; c < C; ++c) {
            __mmask32 some = first_words(columns - 32 * c);
            __m512i x = _mm512_maskz_loadu_epi16(some, a + 32 * c), y = _mm512_maskz_loadu_epi16(some, b + 32 * c);
            v[2 * c] = low_pairs(x, y), v[2 * c + 1] = high_pairs(x, y);
        }
        for (int i = 0; i < R; ++i) {
            __m512i weight = _mm512_set1_epi32(static_cast<int>(p[i * (tile_keys / 2) + j / 2]));
            for (int c = 0; c < 2 * C; ++c) total[i][c] = _mm512_dpbf16_ps(total[i][c], bits(weight), bits(v[c]));
        }
    }
    for (int i = 0; i < R; ++i)
        for (int c = 0; c < 2 * C; ++c)
            if (16 * c < columns) _mm512_storeu_ps(sums + i * stride + 16 * c, total[i][c]);
}

template <int R>
void weigh_rows(const uint32_t* p, const RowSet& values, int64_t dim, const Softmax* states, float* sums, int64_t stride) {
    int64_t d = 0;
    for (; d + 64 <= dim; d += 64) weigh_block<R, 2>(p, values, d, dim, 64, states, sums + d, stride);
    for (; d < dim; d += 32) weigh_block<R, 1>(p, values, d, dim, dim - d < 32 ? dim - d : 32, states, sums + d, stride);
}

void dot_values(const float* p, int m, const RowSet& values_in, int64_t dim, const Softmax* states, float* sums, int64_t stride) {
    if (!values_in.bfloat) return values(p, m, values_in, dim, states, sums, stride);
    alignas(64) uint32_t pairs[tile_rows * tile_keys / 2];
    for (int i = 0; i < m; ++i) round_row(p + i * tile_keys, values_in.count, tile_keys, reinterpret_cast<uint16_t*>(pairs + i * (tile_keys / 2)));
    auto rest = [&](int i) { return states ? states + i : nullptr; };
    int i = 0;
    for (; i + 6 <= m; i += 6) weigh_rows<6>(pairs + i * (tile_keys / 2), values_in, dim, rest(i), sums + i * stride, stride);
    if (i + 4 <= m) weigh_rows<4>(pairs + i * (tile_keys / 2), values_in, dim, rest(i), sums + i * stride, stride), i += 4;
    if (i + 2 <= m) weigh_rows<2>(pairs + i * (tile_keys / 2), values_in, dim, rest(i), sums + i * stride, stride), i += 2;
    if (i < m) weigh_rows<1>(pairs + i * (tile_keys / 2), values_in, dim, rest(i), sums + i * stride, stride);
}

}  // namespace

extern const AttentionTable attention_avx512bf16;
const AttentionTable attention_avx512bf16 = {dot_scores, soften, dot_values, narrow, true};

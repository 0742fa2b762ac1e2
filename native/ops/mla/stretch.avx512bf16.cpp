// Many query rows over one head's keys, which were made for them: the layout costs as much as one row.
// Scores: 6 rows by 4 vectors of 16 keys keep 24 sums; a pair of columns takes 4 loads and 6 broadcasts for 24 dots, and
// no lanes need adding. Values: 6 rows by 4 vectors of 16 columns, the same for a pair of keys.
#include "stretch.h"

#include <algorithm>

#include "avx512.h"
#include "ops/attention/softmax.avx512.h"
#include "workspace.h"

namespace {

constexpr int rows_at_once = 32;  // whose scores and weights stay in L1 with 64 keys
constexpr int block = 6;

inline __m512i pair(const uint16_t* p) {
    int32_t both;
    __builtin_memcpy(&both, p, sizeof both);
    return _mm512_set1_epi32(both);
}

void lay_out_keys(const float* keys, int count, int64_t dim, uint16_t* out) {
    int64_t pairs = (dim + 1) / 2;
    for (int t = 0; t < count; t += 16)
        for (int64_t d = 0; d < dim; d += 32) {
            __m512i rows[16];
            for (int i = 0; i < 16; ++i) {
                const float* x = keys + (t + i) * dim + d;
                bool there = t + i < count;
                __m512 low = there ? _mm512_maskz_loadu_ps(first_lanes(dim - d), x) : _mm512_setzero_ps();
                __m512 high = there ? _mm512_maskz_loadu_ps(first_lanes(dim - d - 16), x + 16) : _mm512_setzero_ps();
                rows[i] = (__m512i)_mm512_cvtne2ps_pbh(high, low);
            }
            transpose_words(rows);
            for (int64_t p = d / 2; p < std::min(pairs, d / 2 + 16); ++p) _mm512_storeu_si512(out + 2 * (t * pairs + p * 16), rows[p - d / 2]);
        }
}

void lay_out_values(const float* values, int count, int64_t dim, uint16_t* out) {
    for (int t = 0; t < count; t += 2)
        for (int64_t d = 0; d < dim; d += 16) {
            __mmask16 there = first_lanes(dim - d);
            __m512 a = _mm512_maskz_loadu_ps(there, values + t * dim + d);
            __m512 b = t + 1 < count ? _mm512_maskz_loadu_ps(there, values + (t + 1) * dim + d) : _mm512_setzero_ps();
            _mm512_storeu_si512(out + t * padded(dim) + 2 * d, rounded_pairs(a, b));
        }
}

// R rows of q by 16 C keys.
template <int R, int C>
inline void score_block(const uint16_t* q, int64_t stride, const uint16_t* keys, int64_t pairs, float* s) {
    __m512 total[R][C];
    for (int i = 0; i < R; ++i)
        for (int c = 0; c < C; ++c) total[i][c] = _mm512_setzero_ps();
    for (int64_t p = 0; p < pairs; ++p) {
        __m512i k[C];
        for (int c = 0; c < C; ++c) k[c] = words(keys + (c * pairs + p) * 32);
        for (int i = 0; i < R; ++i) {
            __m512i x = pair(q + i * stride + 2 * p);
            for (int c = 0; c < C; ++c) total[i][c] = _mm512_dpbf16_ps(total[i][c], bits(x), bits(k[c]));
        }
    }
    for (int i = 0; i < R; ++i)
        for (int c = 0; c < C; ++c) _mm512_storeu_ps(s + i * stretch_keys + 16 * c, total[i][c]);
}

template <int R, int C>
inline void weigh_block(const uint16_t* weights, const uint16_t* values, int count, int64_t stride, const Softmax* states, float* sums) {
    __m512 total[R][C];
    for (int i = 0; i < R; ++i)
        for (int c = 0; c < C; ++c) total[i][c] = _mm512_mul_ps(_mm512_loadu_ps(sums + i * stride + 16 * c), _mm512_set1_ps(states[i].shrink));
    for (int t = 0; t < count; t += 2) {
        __m512i v[C];
        for (int c = 0; c < C; ++c) v[c] = words(values + t * stride + 32 * c);
        for (int i = 0; i < R; ++i) {
            __m512i w = pair(weights + i * stretch_keys + t);
            for (int c = 0; c < C; ++c) total[i][c] = _mm512_dpbf16_ps(total[i][c], bits(w), bits(v[c]));
        }
    }
    for (int i = 0; i < R; ++i)
        for (int c = 0; c < C; ++c) _mm512_storeu_ps(sums + i * stride + 16 * c, total[i][c]);
}

template <int R>
void score_rows(const uint16_t* q, int64_t stride, const HeadStretch& h, int key, int seen, float* s) {
    int64_t pairs = stride / 2;
    const uint16_t* keys = h.keys + key * stride;
    if (seen > key + 32) score_block<R, 4>(q, stride, keys, pairs, s + key);
    else if (seen > key + 16) score_block<R, 2>(q, stride, keys, pairs, s + key);
    else score_block<R, 1>(q, stride, keys, pairs, s + key);
}

template <int R>
void weigh_rows(const uint16_t* weights, const HeadStretch& h, int seen, const Softmax* states, float* sums) {
    int64_t stride = padded(h.value_dim), d = 0;
    for (; d + 64 <= stride; d += 64) weigh_block<R, 4>(weights, h.values + 2 * d, seen, stride, states, sums + d);
    for (; d < stride; d += 16) weigh_block<R, 1>(weights, h.values + 2 * d, seen, stride, states, sums + d);
}

struct Scratch {
    alignas(64) float scores[rows_at_once * stretch_keys];
    alignas(64) uint16_t weights[rows_at_once * stretch_keys];
};

// Rows begin .. end of a tile, of which none sees more than `seen` keys.
void attend_rows_at_once(const HeadStretch& h, int64_t first, int seen, float scale, const uint16_t* q, int64_t stride, RowTile* tile, int begin, int end, float* sums) {
    alignas(64) static thread_local Scratch scratch;
    for (int key = 0; key < seen; key += 64) {
        int i = begin;
        for (; i + block <= end; i += block) score_rows<block>(q + i * stride, stride, h, key, seen, scratch.scores + (i - begin) * stretch_keys);
        for (; i + 2 <= end; i += 2) score_rows<2>(q + i * stride, stride, h, key, seen, scratch.scores + (i - begin) * stretch_keys);
        if (i < end) score_rows<1>(q + i * stride, stride, h, key, seen, scratch.scores + (i - begin) * stretch_keys);
    }
    int columns = (seen + 15) / 16 * 16;
    for (int i = begin; i < end; ++i) {
        int own = static_cast<int>(std::clamp<int64_t>(tile->last[i] + 1 - first, 0, seen));
        soften_bfloat(scratch.scores + (i - begin) * stretch_keys, own, columns, scale, tile->states + i, scratch.weights + (i - begin) * stretch_keys);
    }
    int i = begin;
    int64_t out = padded(h.value_dim);
    for (; i + block <= end; i += block) weigh_rows<block>(scratch.weights + (i - begin) * stretch_keys, h, seen, tile->states + i, sums + i * out);
    for (; i + 2 <= end; i += 2) weigh_rows<2>(scratch.weights + (i - begin) * stretch_keys, h, seen, tile->states + i, sums + i * out);
    if (i < end) weigh_rows<1>(scratch.weights + (i - begin) * stretch_keys, h, seen, tile->states + i, sums + i * out);
}

void lay_out(const float* keys, const float* values, int count, int64_t dim, int64_t value_dim, uint16_t* k, uint16_t* v) {
    lay_out_keys(keys, count, dim, k);
    lay_out_values(values, count, value_dim, v);
}

void attend(const HeadStretch& h, int64_t first, float scale, RowTile* tile, float* sums) {
    static thread_local Workspace space;
    int64_t stride = (h.dim + 1) / 2 * 2;
    uint16_t* q = space.get<uint16_t>(tile->rows * stride + 32);
    for (int i = 0; i < tile->rows; ++i)
        for (int64_t d = 0; d < h.dim; d += 16)
            _mm256_mask_storeu_epi16(q + i * stride + d, first_lanes(stride - d), (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(first_lanes(h.dim - d), tile->q[i] + d)));
    for (int begin = 0; begin < tile->rows; begin += rows_at_once) {
        int end = std::min(begin + rows_at_once, tile->rows);
        int seen = static_cast<int>(std::clamp<int64_t>(tile->last[end - 1] + 1 - first, 0, h.count));
        if (seen) attend_rows_at_once(h, first, seen, scale, q, stride, tile, begin, end, sums);
    }
}

}  // namespace

extern const StretchTable stretch_avx512bf16;
const StretchTable stretch_avx512bf16 = {lay_out, attend};

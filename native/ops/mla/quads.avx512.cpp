// A vector of latents holds 16 columns of four tokens as bytes: (t0 c0-c3)(t1 c0-c3)(t2 c0-c3)(t3 c0-c3)(t0 c4-c7)...
// vpdpbusd multiplies 64 of them, twice what a dot of bfloat16 does.
// Scores: against queries rounded to int8, whose fours of columns stand four times: 4 rows by 4 quads keep 16 sums, apart for
// the first `rank` columns and for the rest, which have scales of their own; 3 additions of shuffled lanes then leave a
// row's 16 scores. Latents are offset by 128: what that adds is 128 times the query's sum.
// Values: one byte shuffle turns the vector into 16 columns of (t0-t3); 16 rows take it with four weights each. Weights are
// probability times scale, as int8 of the largest in a tile of 256 keys. Where that loses too much (one key stands out from
// many that count together), what was lost is rounded again and added by a second pass.
#include <algorithm>

#include "latent.h"
#include "ops/attention/ahead.h"
#include "ops/attention/softmax.avx512.h"
#include "vector.h"
#include "workspace.h"

namespace {

constexpr int tile_length = 256, tile_quads = tile_length / 4, block_quads = quad_block / 4;
constexpr float most_loss = 1.0f / 128;  // of a row's weights so far, in sum or in root of squares


// A query row as the kernel takes it.
struct Query {
    float scale[2];      // of the first `rank` numbers, of the rest
    int32_t offset[2];   // what latents' offset adds
};

// Weights of a row in a tile.
struct Weights {
    float unit;          // what a weight of 1 is worth
    int32_t offset;
};

INLINE __m512i four_times(__m128i bytes) {
    const __m512i order = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    return _mm512_permutexvar_epi32(order, _mm512_castsi128_si512(bytes));
}

INLINE __m128i rounded(const float* x, __m512 inverse) { return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), inverse))); }

// n numbers, a multiple of 16; a NaN among them makes the scale one.
void round_part(const float* x, int64_t n, int8_t* out, float* scale, int32_t* offset) {
    __m512 most = _mm512_setzero_ps(), total = _mm512_setzero_ps();
    for (int64_t d = 0; d < n; d += 16) {
        __m512 v = _mm512_loadu_ps(x + d);
        most = _mm512_max_ps(most, _mm512_abs_ps(v)), total = _mm512_add_ps(total, _mm512_sub_ps(v, v));
    }
    float largest = _mm512_reduce_max_ps(most);
    *scale = largest / 127 + _mm512_reduce_add_ps(total);
    __m512 inverse = _mm512_set1_ps(largest > 0 ? 127 / largest : 0.0f);
    __m512i sum = _mm512_setzero_si512();
    for (int64_t d = 0; d < n; d += 16) {
        __m128i bytes = rounded(x + d, inverse);
        sum = _mm512_add_epi32(sum, _mm512_cvtepi8_epi32(bytes));
        _mm512_storeu_si512(out + 4 * d, four_times(bytes));
    }
    *offset = 128 * _mm512_reduce_add_epi32(sum);
}

Query round_query(const float* x, int64_t width, int64_t rank, int8_t* out) {
    Query q{{0, 0}, {0, 0}};
    round_part(x, rank, out, q.scale, q.offset);
    round_part(x + rank, width - rank, out + 4 * rank, q.scale + 1, q.offset + 1);
    return q;
}

// Lane 4 i + t of the result is the sum of v[i]'s lanes of token t.
INLINE __m512i token_sums(const __m512i* v) {
    constexpr auto order = std::make_index_sequence<lanes>{};
    Ints low = add_pairs<4>((Ints)v[0], (Ints)v[1], order), high = add_pairs<4>((Ints)v[2], (Ints)v[3], order);
    return (__m512i)add_pairs<8>(low, high, order);
}

// Columns begin .. end: 16 scores of R rows as whole numbers.
template <int R>
INLINE void dot_columns(const int8_t* q, const uint8_t* block, int64_t width, int64_t begin, int64_t end, __m512i* s) {
    __m512i total[R * block_quads];
    for (int i = 0; i < R * block_quads; ++i) total[i] = _mm512_setzero_si512();
    for (int64_t d = begin; d < end; d += 16) {
        __m512i x[R];
        for (int i = 0; i < R; ++i) x[i] = words(q + 4 * (i * width + d));
        for (int j = 0; j < block_quads; ++j) {
            __m512i y = words(block + 4 * (j * width + d));
            for (int i = 0; i < R; ++i) total[i * block_quads + j] = _mm512_dpbusd_epi32(total[i * block_quads + j], y, x[i]);
        }
    }
    for (int i = 0; i < R; ++i) s[i] = token_sums(total + i * block_quads);
}

INLINE __m512 scaled(__m512i s, int32_t offset, float scale, const float* scales) {
    __m512 x = _mm512_cvtepi32_ps(_mm512_sub_epi32(s, _mm512_set1_epi32(offset)));
    return _mm512_mul_ps(x, _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_loadu_ps(scales)));
}

template <int R>
INLINE void score_rows(const LatentTask& t, int row, const int8_t* q, const Query* queries, int block, const uint8_t* from, const float* scales, float* s, Ahead* ahead) {
    __m512i first[R], rest[R];
    dot_columns<R>(q + 4 * row * t.width, from, t.width, 0, t.rank, first);
    dot_columns<R>(q + 4 * row * t.width, from, t.width, t.rank, t.width, rest);
    for (int i = 0; i < R; ++i) {
        const Query& query = queries[row + i];
        __m512 x = scaled(first[i], query.offset[0], query.scale[0], scales);
        x = _mm512_add_ps(x, scaled(rest[i], query.offset[1], query.scale[1], scales + t.page));
        _mm512_storeu_ps(s + (row + i) * tile_length + block * quad_block, x);
    }
    ahead->fetch(100 * R / t.rows + 1);
}

// Queries of 8 rows stay in L1 while the keys pass.
void scores(const LatentTask& t, const int8_t* q, const Query* queries, int64_t key, int count, float* s, Ahead* ahead) {
    const uint8_t* const* blocks = t.blocks + key / quad_block;
    const float* const* scales = t.scales + key / quad_block;
    for (int first = 0; first < t.rows; first += 8)
        for (int b = 0; b * quad_block < count; ++b) {
            int i = first, end = std::min(first + 8, t.rows);
            for (; i + 4 <= end; i += 4) score_rows<4>(t, i, q, queries, b, blocks[b], scales[b], s, ahead);
            for (; i < end; ++i) score_rows<1>(t, i, q, queries, b, blocks[b], scales[b], s, ahead);
        }
}

// Probabilities times the keys' scales, in place. most: the largest; allowed: what rounding may lose of them, counting all
// the row's keys so far as if they had the largest scale.
void weigh(const LatentTask& t, int row, int64_t key, int seen, int columns, float* s, float* most, float* allowed) {
    const float* const* scales = t.scales + key / quad_block;
    __m512 heaviest = _mm512_setzero_ps(), widest = _mm512_setzero_ps();
    soften_row(s, seen, columns, t.scale, t.states + row, [&](int j, __m512 p) {
        __m512 scale = _mm512_maskz_loadu_ps(first_lanes(seen - j), scales[j / 16]), x = _mm512_mul_ps(p, scale);
        heaviest = _mm512_max_ps(heaviest, x), widest = _mm512_max_ps(widest, scale);
        _mm512_storeu_ps(s + j, x);
    });
    *most = _mm512_reduce_max_ps(heaviest);
    *allowed = most_loss * t.states[row].sum * _mm512_reduce_max_ps(widest);
}

// Rounds a row's weights to whole numbers up to 127 of `unit`, and leaves in w what that lost. The return value: whether
// it lost more than `allowed`.
bool round_weights(float* w, int columns, float unit, float allowed, int8_t* out, Weights* weights) {
    __m512 inverse = _mm512_set1_ps(unit > 0 ? 1 / unit : 0.0f), size = _mm512_set1_ps(unit), lost = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    __m512i sum = _mm512_setzero_si512();
    for (int j = 0; j < columns; j += 16) {
        __m512 x = _mm512_loadu_ps(w + j);
        __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(x, inverse));
        __m128i bytes = _mm512_cvtepi32_epi8(whole);
        x = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(whole), size, x);
        lost = _mm512_add_ps(lost, x), squares = _mm512_fmadd_ps(x, x, squares);
        sum = _mm512_add_epi32(sum, _mm512_cvtepi8_epi32(bytes));  // not of `whole`: what was no number would leave 32 bits
        _mm512_storeu_ps(w + j, x);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + j), bytes);
    }
    *weights = {unit, 128 * _mm512_reduce_add_epi32(sum)};
    float total = _mm512_reduce_add_ps(lost);
    return !(std::fabs(total) <= allowed && _mm512_reduce_add_ps(squares) <= allowed * allowed);
}

// 16 columns of R rows; w: weights, a tile's length apart.
template <int R>
INLINE void add_columns(const int8_t* w, const Weights* weights, const uint8_t* const* blocks, int quads, int64_t width, int64_t d, const float* shrink, float* sums, int64_t stride) {
    const __m512i by_column = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    __m512i total[R];
    for (int i = 0; i < R; ++i) total[i] = _mm512_set1_epi32(-weights[i].offset);
    for (int j = 0; j < quads; ++j) {
        __m512i v = _mm512_shuffle_epi8(words(blocks[j / block_quads] + 4 * (j % block_quads * width + d)), by_column);
        for (int i = 0; i < R; ++i) {
            int32_t four;
            std::memcpy(&four, w + i * tile_length + 4 * j, sizeof four);
            total[i] = _mm512_dpbusd_epi32(total[i], v, _mm512_set1_epi32(four));
        }
    }
    for (int i = 0; i < R; ++i) {
        __m512 old = _mm512_mul_ps(_mm512_loadu_ps(sums + i * stride + d), _mm512_set1_ps(shrink[i]));
        _mm512_storeu_ps(sums + i * stride + d, _mm512_fmadd_ps(_mm512_cvtepi32_ps(total[i]), _mm512_set1_ps(weights[i].unit), old));
    }
}

struct Scratch {
    alignas(64) float s[tile_rows * tile_length];
    alignas(64) int8_t w[16 * tile_length];
    Query queries[tile_rows];
};

// Rounds the weights of R rows from `row` on and adds their values; then once more what that lost, of the fours of rows
// that lost too much.
template <int R>
void add_rounded(const LatentTask& t, int row, int64_t key, int count, float* s, int8_t* w, float* unit, const float* allowed, float* shrink, bool last, Ahead* ahead) {
    constexpr int four = R < 4 ? R : 4;
    Weights weights[R];
    bool again[R / four] = {};
    int columns = (count + 15) / 16 * 16, quads = (count + 3) / 4;
    for (int i = 0; i < R; ++i) again[i / four] |= round_weights(s + i * tile_length, columns, unit[i], allowed[i], w + i * tile_length, weights + i);
    for (int64_t d = 0; d < t.rank; d += 16) {
        add_columns<R>(w, weights, t.blocks + key / quad_block, quads, t.width, d, shrink, t.sums + row * t.stride, t.stride);
        ahead->fetch(400 * R / 16 / t.rows + 1);
    }
    if (last) return;
    for (int i = 0; i < R; ++i) unit[i] /= 254, shrink[i] = 1;
    for (int i = 0; i < R; i += four)
        if (again[i / four]) add_rounded<four>(t, row + i, key, count, s + i * tile_length, w, unit + i, allowed + i, shrink + i, true, ahead);
}

// The tile's weighted values for R rows from `row` on.
template <int R>
void add_rows(const LatentTask& t, int row, int64_t key, int count, Scratch* scratch, Ahead* ahead) {
    float unit[R], allowed[R], shrink[R];
    float* s = scratch->s + row * tile_length;
    for (int i = 0; i < R; ++i) {
        int seen = static_cast<int>(std::clamp<int64_t>(t.last[row + i] + 1 - t.first - key, 0, count));
        weigh(t, row + i, key, seen, (count + 15) / 16 * 16, s + i * tile_length, unit + i, allowed + i);
        unit[i] /= 127, shrink[i] = t.states[row + i].shrink;
    }
    add_rounded<R>(t, row, key, count, s, scratch->w, unit, allowed, shrink, false, ahead);
}

}  // namespace

void attend_quads_avx512(const LatentTask& t) {
    static thread_local Workspace query_space, scratch_space;
    int8_t* q = query_space.get<int8_t>(4 * t.rows * t.width);
    Scratch* scratch = scratch_space.get<Scratch>(1);
    for (int i = 0; i < t.rows; ++i) scratch->queries[i] = round_query(t.q[i], t.width, t.rank, q + 4 * i * t.width);
    for (int64_t key = 0; key < t.keys; key += tile_length) {
        int count = static_cast<int>(std::min<int64_t>(tile_length, t.keys - key)), i = 0;
        Ahead ahead(t.blocks, (key + tile_length) / quad_block, std::min(key + 2 * tile_length, t.keys) / quad_block, quad_block * t.width);
        scores(t, q, scratch->queries, key, count, scratch->s, &ahead);
        for (; i + 16 <= t.rows; i += 16) add_rows<16>(t, i, key, count, scratch, &ahead);
        for (; i + 4 <= t.rows; i += 4) add_rows<4>(t, i, key, count, scratch, &ahead);
        for (; i < t.rows; ++i) add_rows<1>(t, i, key, count, scratch, &ahead);
    }
}

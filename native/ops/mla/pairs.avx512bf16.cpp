// A vector of latents holds 16 columns of two tokens, as pairs of columns: (t0 c0 c1)(t1 c0 c1)(t0 c2 c3)(t1 c2 c3)...
// Scores: against queries whose pairs stand twice, 4 rows by 4 pairs of tokens keep 16 sums; a step of 16 columns loads 8
// vectors for 16 dots, and at the end 14 additions of shuffled lanes leave the 32 scores of 2 vectors: 7 % of the dots
// for 576 columns.
// Values: one byte shuffle turns the vector into 16 columns of (t0 t1); 16 rows then take it with a pair of weights each:
// 1 load, 1 shuffle and 16 broadcasts for 16 dots.
// The next tile's latents are fetched into L2 meanwhile: a core computes 16 rows at about the rate memory delivers them.
#include "latent.h"
#include "ops/attention/ahead.h"

#include <algorithm>

#include "ops/attention/softmax.avx512.h"
#include "vector.h"
#include "workspace.h"

namespace {

constexpr int block_tokens = pair_block, block_pairs = block_tokens / 2;
constexpr int tile_length = 128, tile_pairs = tile_length / 2;  // between two looks at the softmax


// Rounded to bfloat16, each pair twice.
void round_query(const float* q, int64_t width, uint16_t* out) {
    const __m512i twice = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    for (int64_t d = 0; d < width; d += 16) {
        __m256i narrow = (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(q + d));
        _mm512_storeu_si512(out + 2 * d, _mm512_permutexvar_epi32(twice, _mm512_castsi256_si512(narrow)));
    }
}

// Lane 2 i + t of the result is the sum of v[i]'s lanes of token t.
INLINE Floats token_sums(const Floats* v) {
    constexpr auto order = std::make_index_sequence<lanes>{};
    Floats low = add_pairs<4>(add_pairs<2>(v[0], v[1], order), add_pairs<2>(v[2], v[3], order), order);
    Floats high = add_pairs<4>(add_pairs<2>(v[4], v[5], order), add_pairs<2>(v[6], v[7], order), order);
    return add_pairs<8>(low, high, order);
}

template <int R>
INLINE void score_block(const uint16_t* q, const uint8_t* block, int64_t width, float* s) {
    __m512 total[4 * block_pairs];
    for (int i = 0; i < 4 * block_pairs; ++i) total[i] = _mm512_setzero_ps();
    for (int64_t d = 0; d < width; d += 16) {
        __m512i x[R];
        for (int i = 0; i < R; ++i) x[i] = words(q + 2 * (i * width + d));
        for (int j = 0; j < block_pairs; ++j) {
            __m512i y = words(block + 4 * (j * width + d));
            for (int i = 0; i < R; ++i) total[i * block_pairs + j] = _mm512_dpbf16_ps(total[i * block_pairs + j], bits(x[i]), bits(y));
        }
    }
    Floats sums_of[4 * block_pairs];
    for (int i = 0; i < 4 * block_pairs; ++i) sums_of[i] = total[i];
    for (int i = 0; i < R; i += 2) {
        Floats two = token_sums(sums_of + i * block_pairs);
        _mm256_storeu_ps(s + i * tile_length, _mm512_castps512_ps256(two));
        if (i + 1 < R) _mm256_storeu_ps(s + (i + 1) * tile_length, _mm512_extractf32x8_ps(two, 1));
    }
}

template <int R>
INLINE void score_rows(const LatentTask& t, int row, const uint16_t* q, const uint8_t* block, float* s, Ahead* ahead) {
    score_block<R>(q + 2 * row * t.width, block, t.width, s + row * tile_length);
    ahead->fetch(80 * R / t.rows + 1);
}

// Queries of 8 rows stay in L1 while the keys pass.
void scores(const LatentTask& t, const uint16_t* q, const uint8_t* const* blocks, int count, float* s, Ahead* ahead) {
    for (int first = 0; first < t.rows; first += 8)
        for (int b = 0; b * block_tokens < count; ++b) {
            int i = first, end = std::min(first + 8, t.rows);
            for (; i + 4 <= end; i += 4) score_rows<4>(t, i, q, blocks[b], s + b * block_tokens, ahead);
            for (; i < end; ++i) score_rows<1>(t, i, q, blocks[b], s + b * block_tokens, ahead);
        }
}

// 16 columns; p: weights of pairs of tokens, `tile_pairs` a row.
template <int R>
INLINE void weigh_columns(const uint32_t* p, const uint8_t* const* blocks, int count, int64_t width, int64_t d, const Softmax* states, float* sums, int64_t stride) {
    const __m512i by_token = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
    __m512 total[R];
    for (int i = 0; i < R; ++i) total[i] = _mm512_mul_ps(_mm512_loadu_ps(sums + i * stride + d), _mm512_set1_ps(states[i].shrink));
    auto weigh = [&](int j, __m512i kept) __attribute__((always_inline)) {
        __m512i v = _mm512_shuffle_epi8(words(blocks[j / block_pairs] + 4 * (j % block_pairs * width + d)), by_token);
        v = _mm512_and_si512(v, kept);
        for (int i = 0; i < R; ++i) total[i] = _mm512_dpbf16_ps(total[i], bits(v), bits(_mm512_set1_epi32(static_cast<int>(p[i * tile_pairs + j]))));
    };
    for (int j = 0; j < count / 2; ++j) weigh(j, _mm512_set1_epi32(-1));
    if (count % 2) weigh(count / 2, _mm512_set1_epi32(0xffff));  // nothing may have been written to the other half
    for (int i = 0; i < R; ++i) _mm512_storeu_ps(sums + i * stride + d, total[i]);
}

template <int R>
void weigh_rows(const LatentTask& t, int row, const uint32_t* p, const uint8_t* const* blocks, int count, Ahead* ahead) {
    const int lines = 512 * R / 16 / t.rows + 1;
    for (int64_t d = 0; d < t.rank; d += 16) {
        weigh_columns<R>(p + row * tile_pairs, blocks, count, t.width, d, t.states + row, t.sums + row * t.stride, t.stride);
        ahead->fetch(lines);
    }
}

void values(const LatentTask& t, const uint32_t* p, const uint8_t* const* blocks, int count, Ahead* ahead) {
    int i = 0;
    for (; i + 16 <= t.rows; i += 16) weigh_rows<16>(t, i, p, blocks, count, ahead);
    for (; i + 4 <= t.rows; i += 4) weigh_rows<4>(t, i, p, blocks, count, ahead);
    for (; i < t.rows; ++i) weigh_rows<1>(t, i, p, blocks, count, ahead);
}

// Scores of `count` keys from position `key` on -> weights in bfloat16.
void soften_tile(const LatentTask& t, int64_t key, int count, float* s, uint32_t* p) {
    for (int i = 0; i < t.rows; ++i) {
        const float* row = s + i * tile_length;
        int seen = static_cast<int>(std::clamp<int64_t>(t.last[i] + 1 - key, 0, count));
        soften_bfloat(row, seen, tile_length, t.scale, t.states + i, reinterpret_cast<uint16_t*>(p + i * tile_pairs));
    }
}

}  // namespace

void attend_pairs_avx512bf16(const LatentTask& t) {
    alignas(64) static thread_local float s[tile_rows * tile_length];
    alignas(64) static thread_local uint32_t p[tile_rows * tile_pairs];
    static thread_local Workspace space;
    uint16_t* q = space.get<uint16_t>(2 * t.rows * t.width);
    for (int i = 0; i < t.rows; ++i) round_query(t.q[i], t.width, q + 2 * i * t.width);
    for (int64_t key = 0; key < t.keys; key += tile_length) {
        int count = static_cast<int>(std::min<int64_t>(tile_length, t.keys - key));
        const uint8_t* const* blocks = t.blocks + key / block_tokens;
        Ahead ahead(t.blocks, (key + tile_length) / block_tokens, std::min(key + 2 * tile_length, t.keys) / block_tokens, 2 * block_tokens * t.width);
        scores(t, q, blocks, count, s, &ahead);
        soften_tile(t, t.first + key, count, s, p);
        values(t, p, blocks, count, &ahead);
    }
}

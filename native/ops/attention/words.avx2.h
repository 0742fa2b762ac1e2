#pragma once

// Attention in whole numbers of 16 bits: vpmaddwd multiplies 16 of them where an fma takes 8 floats, and since their sums
// are exact, no order of them matters. Each row has a unit, what 1 is worth, so chosen that no sum can leave 32 bits:
//   queries  by their norm, since |q k| <= |q| |k| for all columns and for any part of them
//   keys     by their largest number, of which the norm is at most sqrt(n) times as much
//   weights  of a tile by the largest, probability times the value's unit
// Of normally distributed numbers that loses a fifth to a third of what bfloat16 does.

#include <algorithm>
#include <cmath>

#include "attention.h"
#include "avx2.h"
#include "runs.h"
#include "vector.h"

namespace {

constexpr int tile_pairs = tile_keys / 2;
constexpr float most_sum = 2.1e9f;    // below 2^31 by more than rounding adds to norms
constexpr float query_norm = 32000;

// The largest whole number of a key or value of n numbers, and of the weight that it gets.
inline float most_of_row(int64_t n) { return std::min(4000.0f, most_sum / (query_norm * std::sqrt(static_cast<float>(n)))); }
inline float most_of_weight(float most_of_value) { return std::min(32000.0f, most_sum / (tile_keys * most_of_value)); }

INLINE float largest_word(__m256i words) {  // of 32 bits
    __m128i most = _mm_max_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0x4e));
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epi32(most, _mm_shuffle_epi32(most, 0xb1))));
}

// The largest magnitude of n numbers; of what is no number, none.
inline float largest(const float* x, int64_t n) {
    __m256i most = _mm256_setzero_si256(), sign = _mm256_set1_epi32(0x7fffffff);
    for (int64_t d = 0; d < n; d += 8) most = _mm256_max_epi32(most, _mm256_and_si256((__m256i)(n - d < 8 ? load_part(x + d, n - d) : load(x + d)), sign));
    return largest_word(most);
}
inline float largest(const Bfloat* x, int64_t n) {  // n: a multiple of 16
    __m256i most = _mm256_setzero_si256(), sign = _mm256_set1_epi16(0x7fff);
    for (int64_t d = 0; d < n; d += 16) most = _mm256_max_epi16(most, _mm256_and_si256(load32(x + d), sign));
    return largest_word(_mm256_max_epi32(_mm256_slli_epi32(most, 16), _mm256_and_si256(most, _mm256_set1_epi32(static_cast<int>(0xffff0000)))));
}
inline float norm(const float* x, int64_t n) {
    Floats total = zeros();
    for (int64_t d = 0; d < n; d += lanes) {
        Floats v = n - d < lanes ? load_part(x + d, n - d) : load(x + d);
        total = fma(v, v, total);
    }
    return std::sqrt(sum(total));
}

// What makes numbers of such sizes whole ones up to `most`.
INLINE Floats inverse_of(Floats size, float most) { return size > broadcast(1e-30f) ? broadcast(most) / size : zeros(); }

// 16 numbers, in the order 0-3, 8-11, 4-7, 12-15: unpacked with another row's they are in their own again.
template <class T>
INLINE __m256i rounded(const T* x, Floats inverse) {
    return _mm256_packs_epi32(_mm256_cvtps_epi32(load(x) * inverse), _mm256_cvtps_epi32(load(x + 8) * inverse));
}
template <class T>
INLINE __m256i rounded(const T* x, int64_t n, Floats inverse) {
    if (n >= 16) return rounded(x, inverse);
    T padded[16] = {};
    std::memcpy(padded, x, sizeof(T) * (n < 0 ? 0 : n));
    return rounded(padded, inverse);
}

INLINE void put(int16_t* to, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), v); }

// n numbers of a query, with zeros up to a multiple of 16. What 1 is worth is returned.
inline float round_query(const float* x, int64_t n, int16_t* out) {
    const float size = norm(x, n);
    const Floats inverse = inverse_of(broadcast(size), query_norm);
    for (int64_t d = 0; d < n; d += 16) put(out + d, rounded(x + d, n - d, inverse));
    return size / query_norm;
}

// Two tokens' 16 columns as pairs of tokens, 8 columns in a vector.
INLINE void put_pairs(int16_t* to, __m256i first, __m256i second) {
    put(to, _mm256_unpacklo_epi16(first, second)), put(to + 16, _mm256_unpackhi_epi16(first, second));
}

// The empty asm keeps GCC from making all products first and their sums then, for which it runs out of registers.
INLINE __m256i add_products(__m256i sum, __m256i a, __m256i b) {
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
    asm("" : "+x"(sum));
    return sum;
}

// Lane i of the result is the sum of v[i]'s lanes.
INLINE __m256i lane_sums(const __m256i* v) {
    __m256i low = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
    __m256i high = _mm256_hadd_epi32(_mm256_hadd_epi32(v[4], v[5]), _mm256_hadd_epi32(v[6], v[7]));
    return _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31));
}

// Rows of whole numbers, `width` apart, with two units each: of the first `split` numbers and of the rest, if there are more.
struct WordRows {
    const int16_t* words;
    int64_t width, split;
    const float* units[2];  // readable up to a multiple of 8
};

// R rows of q by one key: columns begin .. end.
template <int R>
INLINE Floats dots(const int16_t* q, const int16_t* k, int64_t width, int64_t begin, int64_t end) {
    __m256i total[8];
    for (int i = 0; i < 8; ++i) total[i] = _mm256_setzero_si256();
#pragma GCC unroll 2
    for (int64_t d = begin; d < end; d += 16) {
        __m256i y = load32(k + d);
        for (int i = 0; i < R; ++i) total[i] = add_products(total[i], load32(q + i * width + d), y);
    }
    return _mm256_cvtepi32_ps(lane_sums(total));
}

// Key j of R queries from number `row` on, a query in each lane.
template <int R>
INLINE Floats key_scores(const WordRows& q, int64_t row, const WordRows& keys, int j) {
    const int16_t *x = q.words + row * q.width, *y = keys.words + j * q.width;
    Floats s = dots<R>(x, y, q.width, 0, q.split) * load(q.units[0] + row) * broadcast(keys.units[0][j]);
    if (q.split == q.width) return s;
    return s + dots<R>(x, y, q.width, q.split, q.width) * load(q.units[1] + row) * broadcast(keys.units[1][j]);
}

// s[i * tile_keys + j] = q[i] keys[j]; columns up to a multiple of 8 may be overwritten. between(n): called now and then, after n
// multiply-adds.
template <class Between>
inline void word_scores(const WordRows& q, int rows, const WordRows& keys, int count, float* s, const Between& between) {
    by_runs<8>(rows, [&]<int R>(int64_t row) {
        for (int j = 0; j < count; j += 8) {
            __m256i eight[8];
            for (int k = 0; k < 8; ++k) eight[k] = j + k < count ? (__m256i)key_scores<R>(q, row, keys, j + k) : _mm256_setzero_si256();
            transpose_words(eight);
            for (int i = 0; i < R; ++i) _mm256_storeu_si256(reinterpret_cast<__m256i*>(s + (row + i) * tile_keys + j), eight[i]);
            between(8 * R * q.width);
        }
    });
}

// Probabilities p of a row's keys times their values' units as whole numbers, to every tile_rows-th pair of `weights`.
// What a weight of 1 is worth is returned.
inline float round_weights(const float* p, const float* units, int count, float most, int32_t* weights) {
    Floats heaviest = zeros(), w[tile_keys / lanes];
    for (int j = 0; j < tile_keys; j += lanes) {
        Floats x = load(p + j);  // a key that is not seen may have any unit
        w[j / lanes] = x != zeros() ? x * load(units + j) : zeros();
        heaviest = larger(w[j / lanes], heaviest);
    }
    const float size = maximum(heaviest);
    const Floats inverse = inverse_of(broadcast(size), most);
    alignas(32) int32_t pairs[tile_pairs];
    for (int j = 0; j < tile_keys; j += 16) {
        __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(w[j / 8] * inverse), _mm256_cvtps_epi32(w[j / 8 + 1] * inverse));
        _mm256_store_si256(reinterpret_cast<__m256i*>(pairs + j / 2), _mm256_permute4x64_epi64(words, 0xd8));
    }
    for (int j = 0; j < (count + 1) / 2; ++j) weights[j * tile_rows] = pairs[j];
    return size / most;
}

// Weighted values of R rows, 16 columns; values: pairs of tokens as put_pairs leaves them, one after another.
template <int R>
INLINE void add_values(const int32_t* weights, const float* units, const Softmax* states, const int16_t* values, int pairs, float* sums, int64_t stride) {
    __m256i total[R][2];
    for (int i = 0; i < R; ++i) total[i][0] = total[i][1] = _mm256_setzero_si256();
    for (int j = 0; j < pairs; ++j) {
        __m256i low = load32(values + 32 * j), high = load32(values + 32 * j + 16);
        for (int i = 0; i < R; ++i) {
            __m256i weight = _mm256_set1_epi32(weights[j * tile_rows + i]);
            total[i][0] = add_products(total[i][0], weight, low), total[i][1] = add_products(total[i][1], weight, high);
        }
    }
    for (int i = 0; i < R; ++i)
        for (int c = 0; c < 2; ++c) {
            float* to = sums + i * stride + 8 * c;
            store(to, fma(_mm256_cvtepi32_ps(total[i][c]), broadcast(units[i]), load(to) * broadcast(states[i].shrink)));
        }
}

// Values of a tile: 16 columns of all its pairs of tokens, then the next 16.
struct WordValues {
    const int16_t* pairs;
    const float* units;
    int64_t dim;   // a multiple of 16
    float most;    // the largest whole number among them

    static constexpr int64_t block = 16 * tile_keys;  // words
};

struct WordScratch {
    alignas(64) float s[tile_rows * tile_keys];
    alignas(64) int32_t weights[tile_pairs * tile_rows];
    float units[tile_rows];
};

// Query rows over keys and values that stand at positions key, key + 1, ...
struct WordStep {
    WordRows q, keys;
    WordValues values;
    int rows, count;
    const int64_t* last;  // position up to which each row sees
    int64_t key;
    float scale;
    Softmax* states;
    float* sums;          // (rows, stride)
    int64_t stride;
};

inline void weigh(const WordStep& a, WordScratch* scratch) {
    for (int i = 0; i < a.rows; ++i) {
        float* s = scratch->s + i * tile_keys;
        for (int64_t j = std::max<int64_t>(0, a.last[i] + 1 - a.key); j < a.count; ++j) s[j] = -INFINITY;
        attention_table().soften(s, a.count, a.scale, a.states + i);
        scratch->units[i] = round_weights(s, a.values.units, a.count, most_of_weight(a.values.most), scratch->weights + i);
    }
}

template <class Between>
inline void attend_words(const WordStep& a, WordScratch* scratch, const Between& between) {
    word_scores(a.q, a.rows, a.keys, a.count, scratch->s, between);
    weigh(a, scratch);
    for (int64_t d = 0; d < a.values.dim; d += 16)
        by_runs<6>(a.rows, [&]<int R>(int64_t i) {
            const int16_t* values = a.values.pairs + d / 16 * WordValues::block;
            add_values<R>(scratch->weights + i, scratch->units + i, a.states + i, values, (a.count + 1) / 2, a.sums + i * a.stride + d, a.stride);
            between(R * 16 * tile_keys);
        });
}

}  // namespace

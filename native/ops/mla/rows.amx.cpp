// Absorbed attention over latents that lie row by row in bfloat16, in tiles, from where they lie.
// Scores are taken on their side: 16 tokens' rows times 32 columns of 16 queries, so that a lane is a query and its softmax needs no
// lanes added. Values are the same rows as the other factor, which takes its lines as pairs of numbers to be added up: there a pair is
// two columns of one token, so weights come with zeros between them, once for the even columns and once for the odd ones. That is
// twice the products, and costs 16 queries less than a copy with two tokens side by side (64 queries as much).
#include <algorithm>

#include "amx.h"
#include "latent.h"
#include "ops/attention/ahead.h"
#include "ops/attention/softmax.avx512.h"
#include "weight.h"
#include "workspace.h"

namespace {

constexpr int side = tile_side, step = tile_step, tile_numbers = tile_size;
constexpr int most_groups = tile_rows / side;                            // of 16 queries
constexpr int tile_length = 128, tile_blocks = tile_length / row_block;  // between two looks at the softmax

// What a task's queries carry, 16 to a vector.
struct Queries {
    int rows, groups;
    int64_t steps;
    uint16_t* q;          // [group][step][pair of columns][16 queries][2]
    float* scores;        // [tile_length tokens][tile_rows]
    uint16_t* weights;    // [group][16 tokens][for even columns, for odd ones][16 queries][16 tokens][2]
    float* sums;          // [group][32 columns][even, odd][16 queries][16 columns]
    __m512 largest[most_groups], sum[most_groups];
    __m512i last[most_groups];
};

// 32 columns of 16 queries from `row` on.
void turn_queries(const LatentTask& t, int row, int64_t column, uint16_t* out) {
    __m512i v[16];
    for (int i = 0; i < side; ++i) {
        const float* x = t.q[std::min(row + i, t.rows - 1)] + column;
        v[i] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(x));
    }
    transpose_words(v);
    for (int i = 0; i < side; ++i) _mm512_store_si512(out + i * step, v[i]);
}

void take_queries(const LatentTask& t, Queries* all) {
    for (int g = 0; g < all->groups; ++g) {
        for (int64_t s = 0; s < all->steps; ++s) turn_queries(t, g * side, s * step, all->q + (g * all->steps + s) * tile_numbers);
        alignas(64) float largest[side], sum[side];
        alignas(64) int32_t last[side];
        for (int i = 0; i < side; ++i) {
            const int row = std::min(g * side + i, t.rows - 1);
            largest[i] = t.states[row].largest, sum[i] = t.states[row].sum, last[i] = static_cast<int32_t>(t.last[row] - t.first);
        }
        all->largest[g] = _mm512_load_ps(largest), all->sum[g] = _mm512_load_ps(sum), all->last[g] = _mm512_load_si512(last);
    }
}

void give_states(const Queries& all, Softmax* states) {
    for (int i = 0; i < all.rows; ++i) {
        alignas(64) float largest[side], sum[side];
        _mm512_store_ps(largest, all.largest[i / side]), _mm512_store_ps(sum, all.sum[i / side]);
        states[i] = {largest[i % side], sum[i % side], 1};
    }
}

// Blocks of 16 tokens times groups of 16 queries.
template <int Blocks, int Groups>
void score_tiles(const uint8_t* const* blocks, int64_t line, const uint16_t* q, int64_t steps, float* s, Ahead* ahead, int lines) {
    const uint8_t *first = blocks[0], *second = blocks[Blocks - 1];
    const uint16_t* other = q + steps * tile_numbers;
    constexpr int64_t out = tile_rows * sizeof(float);
    _tile_zero(0);
    if constexpr (Groups == 2) _tile_zero(1);
    if constexpr (Blocks == 2) _tile_zero(2);
    if constexpr (Blocks == 2 && Groups == 2) _tile_zero(3);
    for (int64_t i = 0; i < steps; ++i) {
        _tile_loadd(4, first + i * tile_line, line);
        _tile_loadd(6, q + i * tile_numbers, tile_line);
        _tile_dpbf16ps(0, 4, 6);
        if constexpr (Blocks == 2) {
            _tile_loadd(5, second + i * tile_line, line);
            _tile_dpbf16ps(2, 5, 6);
        }
        if constexpr (Groups == 2) {
            _tile_loadd(7, other + i * tile_numbers, tile_line);
            _tile_dpbf16ps(1, 4, 7);
            if constexpr (Blocks == 2) _tile_dpbf16ps(3, 5, 7);
        }
        ahead->fetch(lines);
    }
    _tile_stored(0, s, out);
    if constexpr (Groups == 2) _tile_stored(1, s + side, out);
    if constexpr (Blocks == 2) _tile_stored(2, s + side * tile_rows, out);
    if constexpr (Blocks == 2 && Groups == 2) _tile_stored(3, s + side * tile_rows + side, out);
}

template <int Blocks>
void score_blocks(const LatentTask& t, const Queries& all, const uint8_t* const* blocks, float* s, Ahead* ahead) {
    const int64_t line = t.width * 2;
    const int lines = 20 / all.groups;
    int g = 0;
    auto score = [&]<int Groups>() {
        score_tiles<Blocks, Groups>(blocks, line, all.q + g * all.steps * tile_numbers, all.steps, s + g * side, ahead, lines);
        g += Groups;
    };
    while (g + 2 <= all.groups) score.template operator()<2>();
    if (g < all.groups) score.template operator()<1>();
}

// exp(scale * score - largest) in the place of a group's scores of `count` tokens, whose first one is the task's number `key`, with
// zeros for those that a query does not see. Returns by how much earlier sums shrink.
__m512 soften(float* s, int key, int count, float scale, __m512i last, __m512* largest, __m512* sum) {
    constexpr float log2e = 1.44269504f;
    const __m512 nothing = _mm512_set1_ps(-INFINITY), zero = _mm512_setzero_ps();
    auto sees = [&](int j) { return _mm512_cmple_epi32_mask(_mm512_set1_epi32(key + j), last); };
    __m512 most = nothing, total = zero;
    for (int j = 0; j < count; ++j) most = _mm512_mask_max_ps(most, sees(j), most, _mm512_loadu_ps(s + j * tile_rows));
    most = _mm512_max_ps(_mm512_mul_ps(most, _mm512_set1_ps(scale)), *largest);
    const __m512 base = _mm512_mul_ps(_mm512_mask_mov_ps(most, _mm512_cmpeq_ps_mask(most, nothing), zero), _mm512_set1_ps(log2e));
    for (int j = 0; j < count; ++j) {
        float* x = s + j * tile_rows;
        __m512 p = _mm512_maskz_mov_ps(sees(j), power_of_two(_mm512_fmsub_ps(_mm512_loadu_ps(x), _mm512_set1_ps(scale * log2e), base)));
        total = _mm512_add_ps(total, p);
        _mm512_storeu_ps(x, p);
    }
    const __mmask16 same = _mm512_cmpeq_ps_mask(most, *largest);
    __m512 shrink = power_of_two(_mm512_fmsub_ps(*largest, _mm512_set1_ps(log2e), base));
    shrink = _mm512_mask_mov_ps(shrink, same, _mm512_set1_ps(1));
    *sum = _mm512_fmadd_ps(*sum, shrink, total), *largest = most;
    return shrink;
}

void shrink_sums(float* sums, int64_t rank, __m512 shrink) {
    if (_mm512_cmpneq_ps_mask(shrink, _mm512_set1_ps(1)) == 0) return;
    alignas(64) float by[side];
    _mm512_store_ps(by, shrink);
    for (int64_t d = 0; d < rank; ++d, sums += side) _mm512_store_ps(sums, _mm512_mul_ps(_mm512_load_ps(sums), _mm512_set1_ps(by[d % side])));
}

// A group's weights of 16 tokens, from [token][query] to [query][token], before and behind zeros.
void turn_weights(const float* s, int count, uint16_t* out) {
    __m512i v[16];
    for (int j = 0; j < side; ++j) {
        __m512 p = j < count ? _mm512_loadu_ps(s + j * tile_rows) : _mm512_setzero_ps();
        v[j] = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(p));
    }
    transpose_words(v);
    for (int i = 0; i < side; ++i) {
        _mm512_store_si512(out + i * step, v[i]);
        _mm512_store_si512(out + tile_numbers + i * step, _mm512_slli_epi32(v[i], 16));
    }
}

void weigh_tokens(const LatentTask& t, Queries* all, int key, int count) {
    for (int g = 0; g < all->groups; ++g) {
        float* s = all->scores + g * side;
        shrink_sums(all->sums + g * side * t.rank, t.rank, soften(s, key, count, t.scale, all->last[g], all->largest + g, all->sum + g));
        for (int j = 0; j < count; j += side) turn_weights(s + j * tile_rows, count - j, all->weights + (g * tile_blocks + j / side) * 2 * tile_numbers);
    }
}

void score(const LatentTask& t, const Queries& all, const uint8_t* const* blocks, int count, Ahead* ahead) {
    written();
    for (int j = 0; j < count; j += 2 * row_block) {
        if (count - j > row_block) score_blocks<2>(t, all, blocks + j / row_block, all.scores + j * tile_rows, ahead);
        else score_blocks<1>(t, all, blocks + j / row_block, all.scores + j * tile_rows, ahead);
    }
    written();
}

// 32 columns of Groups groups' sums.
template <int Groups>
void add_values(const uint16_t* weights, const uint8_t* const* blocks, int count, int64_t column, int64_t line, float* sums, float* other,
                Ahead* ahead, int lines) {
    constexpr int tile = side * side;
    const uint16_t* others = weights + tile_blocks * 2 * tile_numbers;
    _tile_loadd(0, sums, tile_line);
    _tile_loadd(1, sums + tile, tile_line);
    if constexpr (Groups == 2) {
        _tile_loadd(2, other, tile_line);
        _tile_loadd(3, other + tile, tile_line);
    }
    for (int i = 0; i < count; ++i, weights += 2 * tile_numbers, others += 2 * tile_numbers) {
        _tile_loadd(6, blocks[i] + 2 * column, line);
        _tile_loadd(4, weights, tile_line);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(5, weights + tile_numbers, tile_line);
        _tile_dpbf16ps(1, 5, 6);
        if constexpr (Groups == 2) {
            _tile_loadd(4, others, tile_line);
            _tile_dpbf16ps(2, 4, 6);
            _tile_loadd(5, others + tile_numbers, tile_line);
            _tile_dpbf16ps(3, 5, 6);
        }
        ahead->fetch(lines);
    }
    _tile_stored(0, sums, tile_line);
    _tile_stored(1, sums + tile, tile_line);
    if constexpr (Groups == 2) {
        _tile_stored(2, other, tile_line);
        _tile_stored(3, other + tile, tile_line);
    }
}

void add_all_values(const LatentTask& t, const Queries& all, const uint8_t* const* blocks, int count, Ahead* ahead) {
    const int n = (count + row_block - 1) / row_block, lines = 16 / all.groups;
    auto add = [&]<int Groups>(int g) {
        for (int64_t d = 0; d < t.rank; d += step)
            add_values<Groups>(all.weights + g * tile_blocks * 2 * tile_numbers, blocks, n, d, 2 * t.width, all.sums + (g * t.rank + d) * side,
                               all.sums + ((g + 1) * t.rank + d) * side, ahead, lines);
    };
    written();
    int g = 0;
    for (; g + 2 <= all.groups; g += 2) add.template operator()<2>(g);
    if (g < all.groups) add.template operator()<1>(g);
    written();
}

// To (rows, stride), columns in order.
void give_sums(const LatentTask& t, const Queries& all) {
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    for (int i = 0; i < t.rows; ++i)
        for (int64_t d = 0; d < t.rank; d += step) {
            const float* from = all.sums + (i / side * t.rank + d) * side + i % side * side;
            __m512 even = _mm512_load_ps(from), odd = _mm512_load_ps(from + side * side);
            _mm512_storeu_ps(t.sums + i * t.stride + d, _mm512_permutex2var_ps(even, low, odd));
            _mm512_storeu_ps(t.sums + i * t.stride + d + 16, _mm512_permutex2var_ps(even, high, odd));
        }
}

// Where the blocks of `count` tokens lie. Behind the last token there may be anything, which no weight of zero would keep out of the
// sums: it is copied, with zeros.
void blocks_of(const LatentTask& t, int64_t key, int count, const uint8_t** blocks) {
    static thread_local Workspace space;
    std::copy_n(t.blocks + key / row_block, (count + row_block - 1) / row_block, blocks);
    const int64_t line = 2 * t.width, there = count % row_block * line;
    if (there == 0) return;
    uint8_t* copy = space.get<uint8_t>(row_block * line);
    std::copy_n(blocks[count / row_block], there, copy);
    std::fill_n(copy + there, row_block * line - there, uint8_t{0});
    blocks[count / row_block] = copy;
}

Queries queries_of(const LatentTask& t) {
    static thread_local Workspace q, sums;
    alignas(64) static thread_local float scores[tile_length * tile_rows];
    alignas(64) static thread_local uint16_t weights[most_groups * tile_blocks * 2 * tile_numbers];
    Queries all;
    all.rows = t.rows, all.groups = (t.rows + side - 1) / side, all.steps = t.width / step;
    all.q = q.get<uint16_t>(all.groups * all.steps * tile_numbers);
    all.sums = sums.get<float>(all.groups * side * t.rank);
    std::fill_n(all.sums, all.groups * side * t.rank, 0.0f);
    all.scores = scores, all.weights = weights;
    take_queries(t, &all);
    return all;
}

}  // namespace

void attend_rows_amx(const LatentTask& t) {
    Queries all = queries_of(t);
    Tiles tiles(side);
    for (int64_t key = 0; key < t.keys; key += tile_length) {
        const int count = static_cast<int>(std::min<int64_t>(tile_length, t.keys - key));
        const uint8_t* blocks[tile_blocks];
        blocks_of(t, key, count, blocks);
        Ahead ahead(t.blocks, (key + tile_length) / row_block, std::min(key + 2 * tile_length, t.keys) / row_block, 2 * row_block * t.width);
        score(t, all, blocks, count, &ahead);
        weigh_tokens(t, &all, static_cast<int>(key), count);
        add_all_values(t, all, blocks, count, &ahead);
    }
    give_states(all, t.states);
    give_sums(t, all);
}

// Keys are turned, 16 of them by 32 columns, so that a line has the same two columns of all; values lie two keys side by side.
// Both serve all rows of a tile. Few rows would wait for them, and widen keys and values instead, as rows over a cache in float32 do:
// vdpbf16ps, where there are tiles, is half as fast as float32.
#include "rows.amx.h"
#include "softmax.avx512.h"
#include "workspace.h"

namespace {

constexpr const AttentionTable& few_rows = attention_avx512;

// -> [16 keys][32 columns][pair of columns][key][2]; behind the last key there are zeros.
void turn_keys(const RowSet& keys, int64_t dim, uint16_t* out, int64_t fetches) {
    for (int j = 0; j < keys.count; j += tile_side) {
        for (int64_t d = 0; d < dim; d += tile_step, out += tile_size) {
            __m512i v[16];
            for (int i = 0; i < tile_side; ++i)
                v[i] = j + i < keys.count ? _mm512_maskz_loadu_epi16(first_words(dim - d), keys.rows[j + i] + 2 * d) : _mm512_setzero_si512();
            transpose_words(v);
            for (int i = 0; i < tile_side; ++i) _mm512_store_si512(out + i * tile_step, v[i]);
        }
        keys.fetch_ahead(static_cast<int>(tile_side * fetches));
    }
}

// -> [32 keys][16 columns][pair of keys][column][2], the same.
void pair_values(const RowSet& values, int64_t dim, int64_t padded, uint16_t* out, int64_t fetches) {
    for (int j = 0; j < whole(values.count, tile_step); j += 2) {
        uint16_t* line = out + j / tile_step * padded * tile_step + j % tile_step / 2 * tile_step;
        for (int64_t d = 0; d < padded; d += tile_step) {
            const __mmask32 some = first_words(dim - d);
            auto row = [&](int i) { return i < values.count ? _mm512_maskz_loadu_epi16(some, values.rows[i] + 2 * d) : _mm512_setzero_si512(); };
            __m512i a = row(j), b = row(j + 1);
            _mm512_store_si512(line + d * tile_step, low_pairs(a, b));
            _mm512_store_si512(line + (d + tile_side) * tile_step, high_pairs(a, b));
        }
        values.fetch_ahead(static_cast<int>(2 * fetches));
    }
}

void tile_scores(const float* const* q, int m, const RowSet& keys, int64_t dim, float* s) {
    if (m <= waiting_rows || !keys.bfloat) return few_rows.scores(q, m, keys, dim, s);
    static thread_local Workspace query_space, key_space;
    const int64_t padded = whole(dim, tile_step);
    uint16_t *rounded = query_space.get<uint16_t>(tile_rows * padded), *turned = key_space.get<uint16_t>(tile_keys * padded);
    round_rows(q, m, dim, padded, rounded);
    turn_keys(keys, dim, turned, (m + 2) / 3);
    Tiles tiles(std::min(m, tile_side));
    multiply_in_tiles(&tiles, {rounded, 2 * padded, tile_step, tile_side * padded}, m, {turned, tile_line, tile_size, tile_side * padded},
                      whole(keys.count, tile_side), padded / tile_step, true, s, tile_keys);
}

void soften_in_place(float* s, int count, float scale, Softmax* state) {
    soften_row(s, count, tile_keys, scale, state, [s](int j, __m512 p) { _mm512_storeu_ps(s + j, p); });
}

void tile_values(const float* p, int m, const RowSet& values_in, int64_t dim, const Softmax* states, float* sums, int64_t stride) {
    if (m <= waiting_rows || !values_in.bfloat) return few_rows.values(p, m, values_in, dim, states, sums, stride);
    static thread_local Workspace space;
    alignas(64) uint16_t weights[tile_rows * tile_keys];
    const float* rows[tile_rows];
    for (int i = 0; i < m; ++i) rows[i] = p + i * tile_keys;
    const int64_t padded = whole(dim, tile_step), keys = whole(values_in.count, tile_step);
    uint16_t* paired = space.get<uint16_t>(tile_keys * padded);
    round_rows(rows, m, values_in.count, tile_keys, weights);
    pair_values(values_in, dim, padded, paired, (m + 5) / 6);
    for (int i = 0; states && i < m; ++i) shrink_sums(states[i], dim, sums + i * stride);
    Tiles tiles(std::min(m, tile_side));
    multiply_in_tiles(&tiles, {weights, 2 * tile_keys, tile_step, tile_side * tile_keys}, m, {paired, tile_line, padded * tile_step, tile_size},
                      whole(dim, tile_side), keys / tile_step, false, sums, stride);
}

void narrow_row(const float* x, int64_t n, uint16_t* y) { few_rows.narrow(x, n, y); }

}  // namespace

extern const AttentionTable attention_amx;
const AttentionTable attention_amx = {tile_scores, soften_in_place, tile_values, narrow_row, true};

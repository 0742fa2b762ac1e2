// Keys and values of a stretch in whole numbers of 16 bits: rows of `padded` columns, and pairs of tokens; what 1 is worth in
// each row lies behind them. They are rounded once for all query rows.
#include "stretch.h"

#include "ops/attention/words.avx2.h"
#include "workspace.h"

namespace {

float* units_behind(uint16_t* words, int64_t dim) { return reinterpret_cast<float*>(words + stretch_keys * padded(dim)); }
const float* units_behind(const uint16_t* words, int64_t dim) { return reinterpret_cast<const float*>(words + stretch_keys * padded(dim)); }

// Units of `count` rows for whole numbers up to `most`.
void measure(const float* rows, int count, int64_t dim, float most, float* units) {
    for (int t = 0; t < count; ++t) units[t] = largest(rows + t * dim, dim) / most;
}

Floats inverse_of_unit(float unit, float most) { return inverse_of(broadcast(unit * most), most); }

int16_t* values_of(const uint16_t* values, int64_t dim, int key) {
    return reinterpret_cast<int16_t*>(const_cast<uint16_t*>(values)) + key / tile_keys * (padded(dim) / 16 * WordValues::block);
}

void lay_out_values(const float* values, int count, int64_t dim, const float* units, uint16_t* out) {
    const float most = most_of_row(dim);
    for (int t = 0; t < count; t += 2) {
        const bool both = t + 1 < count;
        const float *a = values + t * dim, *b = both ? a + dim : a;
        const Floats first = inverse_of_unit(units[t], most), second = both ? inverse_of_unit(units[t + 1], most) : zeros();
        int16_t* pairs = values_of(out, dim, t) + t % tile_keys * 16;
        for (int64_t d = 0; d < dim; d += 16) put_pairs(pairs + d / 16 * WordValues::block, rounded(a + d, dim - d, first), rounded(b + d, dim - d, second));
    }
}

void lay_out(const float* keys, const float* values, int count, int64_t dim, int64_t value_dim, uint16_t* k, uint16_t* v) {
    float *units = units_behind(k, dim), most = most_of_row(dim);
    measure(keys, count, dim, most, units);
    for (int t = 0; t < count; ++t) {
        const Floats inverse = inverse_of_unit(units[t], most);
        int16_t* row = reinterpret_cast<int16_t*>(k) + t * padded(dim);
        for (int64_t d = 0; d < dim; d += 16) put(row + d, rounded(keys + t * dim + d, dim - d, inverse));
    }
    measure(values, count, value_dim, most_of_row(value_dim), units_behind(v, value_dim));
    lay_out_values(values, count, value_dim, units_behind(v, value_dim), v);
}

void attend(const HeadStretch& h, int64_t first, float scale, RowTile* tile, float* sums) {
    static thread_local Workspace query_space, scratch_space;
    const int64_t width = padded(h.dim), stride = padded(h.value_dim);
    int16_t* words = query_space.get<int16_t>(tile_rows * width);
    alignas(32) float units[tile_rows + 8];
    for (int i = 0; i < tile->rows; ++i) units[i] = round_query(tile->q[i], h.dim, words + i * width);
    for (int key = 0; key < h.count && first + key <= tile->last[tile->rows - 1]; key += tile_keys) {
        const WordRows keys{reinterpret_cast<const int16_t*>(h.keys) + key * width, width, width, {units_behind(h.keys, h.dim) + key, nullptr}};
        const WordValues values{values_of(h.values, h.value_dim, key), units_behind(h.values, h.value_dim) + key, stride, most_of_row(h.value_dim)};
        const WordStep step{{words, width, width, {units, nullptr}}, keys, values, tile->rows, std::min(tile_keys, h.count - key), tile->last,
                            first + key, scale, tile->states, sums, stride};
        attend_words(step, scratch_space.get<WordScratch>(1), [](int64_t) {});
    }
}

}  // namespace

extern const StretchTable stretch_avx2;
const StretchTable stretch_avx2 = {lay_out, attend};

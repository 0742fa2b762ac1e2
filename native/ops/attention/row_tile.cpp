#include "row_tile.h"

#include <algorithm>
#include <cmath>

namespace {

void hide(float* s, int64_t key, int64_t keys, int64_t first, int64_t last) {
    for (int64_t j = 0; j < std::min(keys, first - key); ++j) s[j] = -INFINITY;
    for (int64_t j = std::max<int64_t>(0, last - key + 1); j < keys; ++j) s[j] = -INFINITY;
}

}  // namespace

void RowTile::add(const float* query, int64_t first_seen, int64_t last_seen) {
    q[rows] = query, first[rows] = first_seen, last[rows] = last_seen;
    states[rows++] = {-INFINITY, 0, 1};
}

void RowTile::attend(const RowSet& keys, const RowSet& values, int64_t key, int64_t dim, int64_t value_dim, float scale, float* sums) {
    alignas(64) static thread_local float scores[tile_rows * tile_keys];
    const AttentionTable& table = attention_table();
    table.scores(q, rows, keys, dim, scores);
    for (int i = 0; i < rows; ++i) {
        hide(scores + i * tile_keys, key, keys.count, first[i], last[i]);
        table.soften(scores + i * tile_keys, keys.count, scale, states + i);
    }
    table.values(scores, rows, values, value_dim, states, sums, padded(value_dim));
}

void RowTile::finish(int i, const float* sums, int64_t value_dim, float* out) const {
    for (int64_t d = 0; d < value_dim; ++d) out[d] = sums[i * padded(value_dim) + d] / states[i].sum;
}

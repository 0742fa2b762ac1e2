// Many query rows over one head's keys, in the layout of bfloat16, which is that of a right-hand side's tiles.
#include <algorithm>

#include "ops/attention/rows.amx.h"
#include "ops/attention/softmax.avx512.h"
#include "stretch.h"
#include "workspace.h"

namespace {

constexpr int rows_at_once = 32;  // whose scores and weights stay in L1

// Tiles take pairs of tokens by 16: there are zeros behind the last.
void lay_out(const float* keys, const float* values, int count, int64_t dim, int64_t value_dim, uint16_t* k, uint16_t* v) {
    stretch_avx512bf16.lay_out(keys, values, count, dim, value_dim, k, v);
    const int64_t pair = 2 * padded(value_dim);
    std::fill(v + (count + 1) / 2 * pair, v + whole(count, tile_step) / 2 * pair, uint16_t{0});
}

// Rows begin .. begin + n of a tile, none of which sees more than `seen` keys.
void attend_rows_at_once(const HeadStretch& h, int64_t first, int seen, float scale, const uint16_t* q, RowTile* tile, int begin, int n,
                         float* sums) {
    alignas(64) static thread_local float scores[rows_at_once * stretch_keys];
    alignas(64) static thread_local uint16_t weights[rows_at_once * stretch_keys];
    const int64_t out = padded(h.value_dim);
    const int columns = static_cast<int>(whole(seen, tile_step));
    Tiles tiles(std::min(n, tile_side));
    multiply_in_tiles(&tiles, {q + begin * h.dim, 2 * h.dim, tile_step, tile_side * h.dim}, n, {h.keys, tile_line, tile_size, tile_side * h.dim},
                      whole(seen, tile_side), h.dim / tile_step, true, scores, stretch_keys);
    for (int i = 0; i < n; ++i) {
        const int own = static_cast<int>(std::clamp<int64_t>(tile->last[begin + i] + 1 - first, 0, seen));
        soften_bfloat(scores + i * stretch_keys, own, columns, scale, tile->states + begin + i, weights + i * stretch_keys);
        shrink_sums(tile->states[begin + i], out, sums + (begin + i) * out);
    }
    multiply_in_tiles(&tiles, {weights, 2 * stretch_keys, tile_step, tile_side * stretch_keys}, n, {h.values, 4 * out, tile_step * out, tile_step},
                      out, columns / tile_step, false, sums + begin * out, out);
}

void attend(const HeadStretch& h, int64_t first, float scale, RowTile* tile, float* sums) {
    if (h.dim % tile_step) return stretch_avx512bf16.attend(h, first, scale, tile, sums);
    static thread_local Workspace space;
    uint16_t* q = space.get<uint16_t>(tile->rows * h.dim);
    round_rows(tile->q, tile->rows, h.dim, h.dim, q);
    for (int begin = 0; begin < tile->rows; begin += rows_at_once) {
        const int n = std::min(rows_at_once, tile->rows - begin);
        const int seen = static_cast<int>(std::clamp<int64_t>(tile->last[begin + n - 1] + 1 - first, 0, h.count));
        if (seen) attend_rows_at_once(h, first, seen, scale, q, tile, begin, n, sums);
    }
}

}  // namespace

extern const StretchTable stretch_amx;
const StretchTable stretch_amx = {lay_out, attend};

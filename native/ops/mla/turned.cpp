#include "turned.h"

#include <algorithm>

#include "half.h"
#include "ops/linear/arrange.h"
#include "ops/linear/moving.h"
#include "ops/linear/multiply.h"

namespace {

constexpr int64_t block = 32, block_bytes = 2 + block;

void round_block(const float* x, uint8_t* out) {
    float most = 0;
    for (int i = 0; i < block; ++i) most = std::max(most, std::fabs(x[i]));
    uint16_t half = half_of(std::min(most / 127, most_half));
    float scale = half_to_float(half), inverse = scale > 0 ? 1 / scale : 0.0f;
    std::memcpy(out, &half, sizeof half);
    for (int i = 0; i < block; ++i) out[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::clamp(std::nearbyint(x[i] * inverse), -127.0f, 127.0f)));
}

}  // namespace

Weight turned(const Weight& w, Workspace* space) {
    int64_t rows = w.cols, cols = w.rows, row_bytes = cols / block * block_bytes;
    float* across = space->get<float>(rows * cols + rows + (2 * rows * row_bytes + 3) / 4);
    float* row = across + rows * cols;
    for (int64_t c = 0; c < cols; ++c) {
        decode_row(w, c, row);
        for (int64_t r = 0; r < rows; ++r) across[r * cols + c] = row[r];
    }
    if (!is_block_format(w.format) || cols % block) return {Format::F32, reinterpret_cast<const uint8_t*>(across), rows, cols, cols * 4};
    uint8_t* rounded = reinterpret_cast<uint8_t*>(row + rows);
    for (int64_t i = 0; i < rows * cols / block; ++i) round_block(across + i * block, rounded + i * block_bytes);
    const Weight result{Format::Q8_0, rounded, rows, cols, row_bytes};
    if (!tile_table() || rows % panel_rows) return result;
    uint8_t* panels = rounded + rows * row_bytes;
    for (int64_t r = 0; r < rows; r += panel_rows) arrange_panel(result, r, panels + r * row_bytes);
    return {in_panels(result), panels, rows, cols, row_bytes};
}

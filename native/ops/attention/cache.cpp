#include "cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "workspace.h"

namespace {

float widened(uint16_t half) {
    uint32_t bits = static_cast<uint32_t>(half) << 16;
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

// Rounds x to bytes, four of them in every 16; returns the scale. What is no number keeps the token from passing as one.
float round_in_quad(const float* x, int64_t n, uint8_t* out) {
    float most = 0;
    bool finite = true;
    for (int64_t d = 0; d < n; ++d) most = std::max(most, std::fabs(x[d])), finite &= std::isfinite(x[d]);
    if (!finite) return NAN;
    float scale = most / 127, inverse = scale > 0 ? 1 / scale : 0.0f;
    for (int64_t d = 0; d < n; ++d) out[d / 4 * 16 + d % 4] = static_cast<uint8_t>(128 + static_cast<int>(std::nearbyint(x[d] * inverse)));
    return scale;
}

}  // namespace

RowSet Pages::rows(const Batch& batch, int64_t s, int64_t first, int count, int64_t column) const {
    if (layout == Layout::quads) return quad_rows(batch, s, first, count);
    RowSet set;
    set.count = count;
    set.bfloat = bfloat;
    for (int i = 0; i < count;) {
        const uint8_t* run = row(batch, s, first + i) + column * size();
        int end = static_cast<int>(std::min<int64_t>(count, i + page - (first + i) % page));
        for (; i < end; ++i, run += width * size()) set.rows[i] = run;
    }
    return set;
}

void Pages::bring(const Batch& batch, int64_t s, int64_t first, int count, int64_t column, int64_t n) const {
    for (int i = 0; i < count; ++i) {
        const volatile uint8_t* from = row(batch, s, first + i) + column * size();
        for (int64_t byte = 0; byte < n * size(); byte += 64) static_cast<void>(from[byte]);
    }
}

RowSet Pages::quad_rows(const Batch& batch, int64_t s, int64_t first, int count) const {
    static thread_local Workspace space;
    float* out = space.get<float>(tile_keys * width);
    RowSet set;
    set.count = count, set.bfloat = false;
    for (int i = 0; i < count; ++i, out += width) {
        read_quad(batch, s, first + i, 0, rank, out);
        read_quad(batch, s, first + i, rank, width - rank, out + rank);
        set.rows[i] = reinterpret_cast<const uint8_t*>(out);
    }
    return set;
}

void Pages::read(const Batch& batch, int64_t s, int64_t position, int64_t column, int64_t n, float* out) const {
    if (layout == Layout::pairs) return read_pair(batch, s, position, column, n, out);
    if (layout == Layout::quads) return read_quad(batch, s, position, column, n, out);
    const uint8_t* from = row(batch, s, position) + column * size();
    if (!bfloat) return static_cast<void>(std::memcpy(out, from, n * sizeof(float)));
    const uint16_t* halves = reinterpret_cast<const uint16_t*>(from);
    for (int64_t d = 0; d < n; ++d) out[d] = widened(halves[d]);
}

void Pages::read_pair(const Batch& batch, int64_t s, int64_t position, int64_t column, int64_t n, float* out) const {
    const uint8_t* from = row(batch, s, position & ~int64_t{1}) + 4 * column + 4 * (position % 2);
    const uint16_t* halves = reinterpret_cast<const uint16_t*>(from);
    for (int64_t d = 0; d < n; d += 2) out[d] = widened(halves[2 * d]), out[d + 1] = widened(halves[2 * d + 1]);
}

void Pages::read_quad(const Batch& batch, int64_t s, int64_t position, int64_t column, int64_t n, float* out) const {
    const uint8_t* from = row(batch, s, position & ~int64_t{3}) + 4 * column + 4 * (position % 4);
    float scale = scales(batch, s, position)[(column < rank ? 0 : page) + position % page];
    for (int64_t d = 0; d < n; d += 4)
        for (int64_t i = 0; i < 4; ++i) out[d + i] = static_cast<float>(from[4 * d + i] - 128) * scale;
}

void Pages::write_in_pair(const Batch& batch, int64_t s, int64_t position, const float* x) const {
    static thread_local Workspace space;
    uint16_t* rounded = space.get<uint16_t>(width);
    attention_table().narrow(x, width, rounded);
    uint8_t* to = row(batch, s, position & ~int64_t{1}) + 4 * (position % 2);
    for (int64_t d = 0; d < width; d += 2) std::memcpy(to + 4 * d, rounded + d, 4);
}

void Pages::write_in_quad(const Batch& batch, int64_t s, int64_t position, const float* x) const {
    uint8_t* to = row(batch, s, position & ~int64_t{3}) + 4 * (position % 4);
    float* scale = scales(batch, s, position) + position % page;
    scale[0] = round_in_quad(x, rank, to);
    scale[page] = round_in_quad(x + rank, width - rank, to + 4 * rank);
}

void Pages::write(const Batch& batch, const float* x, int64_t begin, int64_t end) const {
    int64_t s = 0;
    for (int64_t t = begin; t < end; ++t) {
        while (batch.starts[s + 1] <= t) ++s;
        const float* from = x + t * width;
        int64_t position = batch.positions[t];
        if (layout == Layout::pairs) write_in_pair(batch, s, position, from);
        else if (layout == Layout::quads) write_in_quad(batch, s, position, from);
        else if (bfloat) attention_table().narrow(from, width, reinterpret_cast<uint16_t*>(row(batch, s, position)));
        else std::memcpy(row(batch, s, position), from, width * sizeof(float));
    }
}

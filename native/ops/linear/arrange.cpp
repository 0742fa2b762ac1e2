#include "arrange.h"

#include <algorithm>
#include <cstring>

#include "linear.h"

namespace {

constexpr int words = 8;  // of 4 quants each in a group of 32

uint32_t word(const uint8_t* p, int i) {
    uint32_t value;
    std::memcpy(&value, p + 4 * i, 4);
    return value;
}

void put(uint32_t value, uint8_t* p) { std::memcpy(p, &value, 4); }

// `quants`: the 32 of group g, 4 bits of a byte each.
void put_nibbles(const uint32_t* quants, int g, uint8_t* out) {
    for (int k = 0; k < 4; ++k) put(quants[k] | quants[4 + k] << 4, out + 32 * k + 4 * g);
}

// Blocks of 32: `halves` binary16 numbers, then 16 bytes, whose words are those of the lanes.
void arrange_blocks(const uint8_t* p, int halves, int groups, uint8_t* out) {
    uint8_t* nibbles = out + 2 * halves * groups;
    for (int g = 0; g < groups; ++g, p += 2 * halves + 16) {
        for (int h = 0; h < halves; ++h) std::memcpy(out + 2 * (h * groups + g), p + 2 * h, 2);
        for (int k = 0; k < 4; ++k) put(word(p + 2 * halves, k), nibbles + 4 * (k * groups + g));
    }
}

void arrange_q4_k(const uint8_t* p, uint8_t* out) {
    std::memcpy(out, p, 16);
    for (int g = 0; g < 8; ++g) {
        uint32_t quants[words];
        for (int i = 0; i < words; ++i) quants[i] = word(p + 16 + g / 2 * 32, i) >> (g % 2 * 4) & 0x0f0f0f0fu;
        put_nibbles(quants, g, out + 16);
    }
}

void arrange_q6_k(const uint8_t* p, uint8_t* out) {
    for (int g = 0; g < 8; ++g) {
        uint32_t low[words], high[words];
        for (int i = 0; i < words; ++i) {
            low[i] = word(p + g / 4 * 64 + g % 2 * 32, i) >> (g / 2 % 2 * 4) & 0x0f0f0f0fu;
            high[i] = word(p + 128 + g / 4 * 32, i) >> (g % 4 * 2) & 0x03030303u;
        }
        put_nibbles(low, g, out);
        for (int k = 0; k < 2; ++k)
            put(high[4 * k] | high[4 * k + 1] << 2 | high[4 * k + 2] << 4 | high[4 * k + 3] << 6, out + 128 + 32 * k + 4 * g);
        for (int h = 0; h < 2; ++h) out[192 + 8 * h + g] = p[192 + 2 * g + h];
    }
    std::memcpy(out + 208, p + 208, 2);
}

// bytes of each row, among them a binary16 number at `half`, or none (-1).
struct Block {
    int bytes, half;
};

Block block_of(Format format) {
    switch (format) {
        case Format::Q4_0: return {18, 0};
        case Format::Q4_1: return {20, -1};
        case Format::Q8_0: return {34, 0};
        case Format::Q4_K: return {144, -1};
        default: return {210, 208};
    }
}

// `bytes` of each row, from p on, side by side.
template <int bytes>
uint8_t* put_side_by_side(const uint8_t* p, int64_t row_bytes, uint8_t* out) {
    for (int r = 0; r < panel_rows; ++r, p += row_bytes, out += bytes) std::memcpy(out, p, bytes);
    return out;
}

using Words = uint32_t __attribute__((vector_size(16)));

Words words_at(const uint8_t* p) {
    Words value;
    std::memcpy(&value, p, sizeof value);
    return value;
}

// The same with four words of each row, one after the other: squares of four rows are turned.
uint8_t* put_words_side_by_side(const uint8_t* p, int64_t row_bytes, uint8_t* out) {
    for (int r = 0; r < panel_rows; r += 4, p += 4 * row_bytes) {
        const Words a = words_at(p), b = words_at(p + row_bytes), c = words_at(p + 2 * row_bytes), d = words_at(p + 3 * row_bytes);
        const Words ab[] = {__builtin_shufflevector(a, b, 0, 4, 1, 5), __builtin_shufflevector(a, b, 2, 6, 3, 7)};
        const Words cd[] = {__builtin_shufflevector(c, d, 0, 4, 1, 5), __builtin_shufflevector(c, d, 2, 6, 3, 7)};
        for (int k = 0; k < 4; ++k) {
            const Words &first = ab[k / 2], &second = cd[k / 2];
            const Words turned = k % 2 ? __builtin_shufflevector(first, second, 2, 3, 6, 7) : __builtin_shufflevector(first, second, 0, 1, 4, 5);
            std::memcpy(out + 4 * (k * panel_rows + r), &turned, sizeof turned);
        }
    }
    return out + 16 * panel_rows;
}

}  // namespace

Format in_lanes(const Weight& w) {
    switch (w.format) {
        case Format::Q4_0: return Format::Q4_0_LANES;
        case Format::Q4_1: return Format::Q4_1_LANES;
        case Format::Q4_K: return Format::Q4_K_LANES;
        case Format::Q6_K: return Format::Q6_K_LANES;
        default: return w.format;
    }
}

Format in_panels(const Weight& w) {
    if (w.rows % panel_rows) return w.format;
    switch (w.format) {
        case Format::Q4_0: return Format::Q4_0_PANELS;
        case Format::Q4_1: return Format::Q4_1_PANELS;
        case Format::Q8_0: return Format::Q8_0_PANELS;
        case Format::Q4_K: return Format::Q4_K_PANELS;
        case Format::Q6_K: return Format::Q6_K_PANELS;
        default: return w.format;
    }
}

void arrange_row(const Weight& w, int64_t r, uint8_t* out) {
    const uint8_t* p = w.row(r);
    for (int64_t c = 0; c < w.cols; c += chunk_cols) {
        const int groups = static_cast<int>(std::min<int64_t>(8, (w.cols - c) / 32));
        const int64_t bytes = w.row_bytes * 32 * groups / w.cols;
        if (w.format == Format::Q4_K) arrange_q4_k(p, out);
        else if (w.format == Format::Q6_K) arrange_q6_k(p, out);
        else arrange_blocks(p, w.format == Format::Q4_0 ? 1 : 2, groups, out);
        p += bytes, out += bytes;
    }
}

void arrange_panel(const Weight& w, int64_t r, uint8_t* out) {
    const auto [bytes, half] = block_of(w.format);
    const uint8_t *p = w.row(r), *end = p + w.row_bytes, *ahead = w.row(r + panel_rows);
    for (; p < end; p += bytes, ahead += panel_rows * bytes) {
        for (int64_t line = 0; line < panel_rows * bytes; line += 64) __builtin_prefetch(ahead + line, 0, 2);
        if (half >= 0) out = put_side_by_side<2>(p + half, w.row_bytes, out);
        int at = half == 0 ? 2 : 0;
        for (; at + 16 <= bytes; at += 16) out = put_words_side_by_side(p + at, w.row_bytes, out);
        for (; at + 4 <= bytes; at += 4) out = put_side_by_side<4>(p + at, w.row_bytes, out);
    }
}

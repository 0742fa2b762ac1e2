#include "cache.h"

#include <algorithm>
#include <cstring>
#include <vector>

RowSet Pages::rows(const Batch& batch, int64_t s, int64_t first, int count, int64_t column) const {
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

void Pages::read(const Batch& batch, int64_t s, int64_t position, int64_t column, int64_t n, float* out) const {
    const uint8_t* from = row(batch, s, paired ? position & ~int64_t{1} : position) + column * size() * (paired ? 2 : 1);
    if (!bfloat) return static_cast<void>(std::memcpy(out, from, n * sizeof(float)));
    const uint16_t* halves = reinterpret_cast<const uint16_t*>(from) + (paired ? position % 2 * 2 : 0);
    for (int64_t d = 0; d < n; ++d) {
        uint32_t bits = static_cast<uint32_t>(halves[paired ? d / 2 * 4 + d % 2 : d]) << 16;
        std::memcpy(out + d, &bits, sizeof bits);
    }
}

// into: the first of the token's places in its pair's row.
void Pages::write_in_pair(const float* x, uint8_t* into) const {
    static thread_local std::vector<uint16_t> rounded;
    rounded.resize(width);
    attention_table().narrow(x, width, rounded.data());
    for (int64_t d = 0; d < width; d += 2) std::memcpy(into + 4 * d, rounded.data() + d, 4);
}

void Pages::write(const Batch& batch, const float* x, int64_t begin, int64_t end) const {
    int64_t s = 0;
    for (int64_t t = begin; t < end; ++t) {
        while (batch.starts[s + 1] <= t) ++s;
        int64_t position = batch.positions[t], second = paired ? position % 2 : 0;
        uint8_t* to = row(batch, s, position - second);
        if (paired) write_in_pair(x + t * width, to + 4 * second);
        else if (bfloat) attention_table().narrow(x + t * width, width, reinterpret_cast<uint16_t*>(to));
        else std::memcpy(to, x + t * width, width * sizeof(float));
    }
}

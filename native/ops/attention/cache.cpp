#include "cache.h"

#include <algorithm>
#include <cstring>

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

void Pages::write(const Batch& batch, const float* x, int64_t begin, int64_t end) const {
    int64_t s = 0;
    for (int64_t t = begin; t < end; ++t) {
        while (batch.starts[s + 1] <= t) ++s;
        uint8_t* to = row(batch, s, batch.positions[t]);
        if (bfloat) attention_table().narrow(x + t * width, width, reinterpret_cast<uint16_t*>(to));
        else std::memcpy(to, x + t * width, width * sizeof(float));
    }
}

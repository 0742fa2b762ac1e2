#pragma once

// A maximum takes a load, a max and two operations that find a NaN for each vector: less than the second cache needs to
// bring it, where a row of 600 KB lies. A sum takes some 20 operations of e^x for each vector, on numbers that the block's
// maximum has just brought into the first cache: one pass over memory in all, bound by arithmetic. Chains of their own
// hide the latency of max and add. 256 float32 numbers lose little when they are added as a tree of lanes and chains;
// whoever adds up the blocks uses float64.

#include <cmath>

#include "sample.h"
#include "vector.h"

namespace {

constexpr int chains = 4;

float block_maximum(const float* x) {
    Floats most[chains];
    Ints nan{};
    for (Floats& m : most) m = broadcast(-INFINITY);
    for (int i = 0; i < block_numbers; i += chains * lanes)
        for (int j = 0; j < chains; ++j) {
            Floats v = load(x + i + j * lanes);
            most[j] = larger(v, most[j]);
            nan |= v != v;
        }
    float worst = sum((Floats)nan);  // all bits of a lane set: a NaN
    return worst != worst ? worst : maximum(larger(larger(most[0], most[1]), larger(most[2], most[3])));
}

float block_sum(const float* x, float most, float scale) {
    Floats base = broadcast(most == -INFINITY ? 0.0f : most), factor = broadcast(scale), total[chains] = {};
    for (int i = 0; i < block_numbers; i += chains * lanes)
        for (int j = 0; j < chains; ++j) total[j] += exponential((load(x + i + j * lanes) - base) * factor);
    return sum((total[0] + total[1]) + (total[2] + total[3]));
}

// A short last block is filled up with -infinity, which changes neither.
template <class Body>
INLINE void each_block(const float* x, int64_t n, Body body) {
    int64_t whole = n / block_numbers, rest = n % block_numbers;
    for (int64_t b = 0; b < whole; ++b) body(x + b * block_numbers, b);
    if (!rest) return;
    float filled[block_numbers];
    for (int64_t i = 0; i < block_numbers; ++i) filled[i] = i < rest ? x[whole * block_numbers + i] : -INFINITY;
    body(filled, whole);
}

void maxima(const float* x, int64_t n, float* most) {
    each_block(x, n, [=](const float* block, int64_t b) __attribute__((always_inline)) { most[b] = block_maximum(block); });
}

void sums(const float* x, int64_t n, float scale, float* most, float* totals) {
    each_block(x, n, [=](const float* block, int64_t b) __attribute__((always_inline)) {
        most[b] = block_maximum(block);
        totals[b] = block_sum(block, most[b], scale);
    });
}

}  // namespace

#include <algorithm>

#include "sample.h"

// A load, a comparison, a store and an addition for each number, without a branch: about a cycle. Few blocks hold a number
// that is worth drawing, so this needs no vectors.
static int64_t scan(const float* x, int64_t begin, int64_t end, float threshold, int32_t* ids) {
    int64_t found = 0;
    for (int64_t i = begin; i < end; ++i) {
        ids[found] = static_cast<int32_t>(i);
        found += x[i] >= threshold;
    }
    return found;
}

int64_t at_least(const float* x, int64_t n, const float* maxima, float threshold, int32_t* ids) {
    int64_t found = 0;
    for (int64_t begin = 0; begin < n; begin += block_numbers)
        if (!(*maxima++ < threshold)) found += scan(x, begin, std::min(n, begin + block_numbers), threshold, ids + found);
    return found;
}

#pragma once

#include <vector>

#include "weight.h"

// down(silu(gate x) * (up x)); gate, up: (width, d), down: (d, width). Shazeer, arXiv 2002.05202.
struct Gated {
    const Weight *gate, *up, *down;
};

// Some tokens of x through one net. tokens: rows of x, null for all of them in order; weights: one a token, null for 1.
struct Group {
    Gated net;
    const int32_t* tokens;
    const float* weights;
    int64_t count;
};

// y (T, d) = the weighted sum over groups, added in the order of `groups`, which fixes the result whatever the number of
// threads. One fork-join: all groups' hidden rows, a barrier, all output rows.
void feed_forward(const float* x, int64_t T, int64_t d, const std::vector<Group>& groups, float* y);

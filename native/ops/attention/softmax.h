#pragma once

#include <cmath>

#include "attention.h"
#include "vector.h"

namespace {

// s[0..count) -> exp(scale * s - largest) with state updated; the rest of the `columns`, a multiple of `lanes`, become 0.
INLINE void soften_row(float* s, int count, int columns, float scale, Softmax* state) {
    for (int j = count; j < columns; ++j) s[j] = -INFINITY;
    Floats most = broadcast(-INFINITY), factor = broadcast(scale);
    for (int j = 0; j < columns; j += lanes) {
        Floats x = load(s + j) * factor;
        store(s + j, x);
        most = larger(x, most);
    }
    float largest = maximum(most);
    largest = largest > state->largest ? largest : state->largest;
    Floats base = broadcast(largest == -INFINITY ? 0.0f : largest), total = zeros();
    for (int j = 0; j < columns; j += lanes) {
        Floats p = exponential(load(s + j) - base);
        store(s + j, p);
        total = total + p;
    }
    state->shrink = state->largest == largest ? 1.0f : std::exp(state->largest - largest);
    state->sum = state->sum * state->shrink + sum(total);
    state->largest = largest;
}

}  // namespace

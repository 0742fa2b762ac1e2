#pragma once

#include <cstdint>

// divebell.ops.Router: how a token's scores become a choice of experts.
struct Router {
    int64_t experts, top_k, groups, kept_groups;
    bool sigmoid, two_best, renormalise;  // sigmoid: or softmax; two_best: a group counts by its two best, or by its best
    float scale;
};

// One token: logits (experts) -> top_k ids, best first, and their weights. bias may be null. On a tie the lower id wins.
// `scratch` holds 2 * experts + groups numbers.
void route(const Router& router, const float* logits, const float* bias, float* scratch, int32_t* ids, float* weights);

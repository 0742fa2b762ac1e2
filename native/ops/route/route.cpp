#include "route.h"

#include <algorithm>
#include <cmath>
#include <limits>

// A few hundred scores a token against the millions of multiply-adds of its experts: clarity before speed.
namespace {

constexpr float taken = -std::numeric_limits<float>::infinity();

void soften(const float* x, int64_t n, float* y) {
    float largest = *std::max_element(x, x + n), sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += y[i] = std::exp(x[i] - largest);
    for (int64_t i = 0; i < n; ++i) y[i] /= sum;
}

void squash(const float* x, int64_t n, float* y) {
    for (int64_t i = 0; i < n; ++i) y[i] = 1.0f / (1.0f + std::exp(-x[i]));
}

// The first of the largest that is not taken; scores that are not numbers are never larger.
int64_t best(const float* x, int64_t n) {
    int64_t at = 0;
    for (int64_t i = 1; i < n; ++i)
        if (x[i] > x[at] || x[at] != x[at]) at = i;
    return at;
}

float group_score(const float* x, int64_t n, bool two_best) {
    float first = taken, second = taken;
    for (int64_t i = 0; i < n; ++i) {
        if (x[i] > first) second = first, first = x[i];
        else if (x[i] > second) second = x[i];
    }
    return two_best ? first + second : first;
}

// Leaves only the experts of the best groups to choose from.
void keep_groups(const Router& router, float* choice, float* group_scores) {
    int64_t size = router.experts / router.groups;
    for (int64_t g = 0; g < router.groups; ++g) group_scores[g] = group_score(choice + g * size, size, router.two_best);
    for (int64_t dropped = router.groups - router.kept_groups; dropped > 0; --dropped) {
        int64_t worst = 0;
        for (int64_t g = 1; g < router.groups; ++g)
            if (group_scores[g] <= group_scores[worst]) worst = g;
        group_scores[worst] = std::numeric_limits<float>::infinity();
        std::fill_n(choice + worst * size, size, taken);
    }
}

}  // namespace

void route(const Router& router, const float* logits, const float* bias, float* scratch, int32_t* ids, float* weights) {
    float *scores = scratch, *choice = scratch + router.experts, sum = 0;
    (router.sigmoid ? squash : soften)(logits, router.experts, scores);
    for (int64_t e = 0; e < router.experts; ++e) choice[e] = scores[e] + (bias ? bias[e] : 0.0f);
    if (router.kept_groups < router.groups) keep_groups(router, choice, choice + router.experts);
    for (int64_t k = 0; k < router.top_k; ++k) {
        int64_t e = best(choice, router.experts);
        ids[k] = static_cast<int32_t>(e), weights[k] = scores[e], choice[e] = taken;
        sum += scores[e];
    }
    for (int64_t k = 0; k < router.top_k; ++k)
        weights[k] = (router.renormalise ? weights[k] / (sum + 1e-20f) : weights[k]) * router.scale;
}

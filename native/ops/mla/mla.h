#pragma once

#include <vector>

#include "ops/attention/cache.h"
#include "weight.h"

// Multi-head latent attention over cached latents (DeepSeek-V2, arXiv 2405.04434, section 2.1). A cached row holds a
// latent of `rank` numbers, from which each head's `nope` key numbers and `v` value numbers are made, and one rotated key
// of `rope` numbers for all heads. Two ways give the same result:
//   absorbed: the head's matrices go into query and result, attention runs over the cached rows themselves;
//             2 rank + rope multiply-adds for each query and key
//   expanded: keys and values are made from the latents first, rank (nope + v) multiply-adds for each key;
//             then nope + rope + v for each query and key.

// The matrices from a latent to keys and values: one (heads * (nope + v), rank), or for each head (rank, nope) and (v, rank).
struct UpProjections {
    const Weight* kv_b = nullptr;
    std::vector<const Weight*> k_b, v_b;

    bool split() const { return !kv_b; }
    int64_t rank() const { return split() ? v_b[0]->cols : kv_b->cols; }
};

struct Mla {
    Batch batch;
    Pages pages;
    const UpProjections* up;
    const float* q;  // (tokens, heads, nope + rope)
    float* out;      // (tokens, heads, v)
    int64_t heads, nope, rope, rank, v;
    float scale;

    int64_t width() const { return rank + rope; }
    int64_t dim() const { return nope + rope; }
    Weight values_up(int64_t head) const;  // (v, rank)
    Weight keys_up(int64_t head) const;    // (nope, rank); of a split one, (rank, nope)
};

void mla(const Mla& problem, const float* latent);

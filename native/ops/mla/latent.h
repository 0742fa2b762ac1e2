#pragma once

#include <cstdint>

#include "ops/attention/attend.h"

// Absorbed attention over latents that lie in pairs (ops/attention/cache.h): the whole of a task, queries rounded once.
constexpr int latent_block = 8;   // tokens of a block, which lies in one page
constexpr int latent_tile = 128;  // keys between two looks at the softmax

struct LatentTask {
    int rows;                      // query rows, at most tile_rows
    const float* const* q;         // each of `width` numbers
    const int64_t* last;           // last position that each row sees
    int64_t first, keys;           // positions first .. first + keys; first is a multiple of latent_block
    const uint8_t* const* blocks;  // of latent_block tokens each
    int64_t width, rank;           // multiples of 16
    float scale;
    float* sums;                   // (rows, stride): weighted sums of the first `rank` numbers, to start from zero
    int64_t stride;
    Softmax* states;
};

void attend_pairs_avx512bf16(const LatentTask& task);
RunTask attend_pairs;

// Whether latents of such widths lie in pairs: where this instruction set has a kernel for it.
bool in_pairs(const Pages& pages, int64_t rank);

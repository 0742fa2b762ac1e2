#pragma once

#include <cstdint>

#include "ops/attention/attend.h"

// Absorbed attention over latents, however they lie (ops/attention/cache.h): a task or a stretch of it, its queries rounded once.
constexpr int pair_block = 8, quad_block = 16, word_block = 8, row_block = 16;  // tokens of a block, which lies in one page

struct LatentTask {
    int rows;                      // query rows, at most tile_rows
    const float* const* q;         // each of `width` numbers
    const int64_t* last;           // last position that each row sees
    int64_t first, keys;           // positions first .. first + keys; first is a multiple of a block
    const uint8_t* const* blocks;
    const float* const* scales;    // of quads, else null: the block's scales of the first `rank` numbers; those of the rest are `page` on
    int64_t page;
    int64_t width, rank;           // multiples of 16
    float scale;
    float* sums;                   // (rows, stride): weighted sums of the first `rank` numbers, to start from zero
    int64_t stride;
    Softmax* states;
};

void attend_pairs_avx512bf16(const LatentTask& task);
void attend_quads_avx512(const LatentTask& task);
void attend_rows_amx(const LatentTask& task);    // rows of bfloat16
void attend_words_avx2(const LatentTask& task);  // rows of bfloat16, or quads

// The kernel for such pages on this machine, else what takes them row by row.
RunTask* latent_task(const Pages& pages, int64_t rank);

// How pages of bfloat16 lie: in pairs where this instruction set's fastest kernel takes them so.
Layout bfloat_layout(const Pages& pages, int64_t rank);

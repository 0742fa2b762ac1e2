#pragma once

#include <cstdint>

// What choosing a token needs of a row of logits, for each block of it; a row's last block may be short. A NaN makes both
// numbers of its block NaN.
constexpr int64_t block_numbers = 256;

struct SampleTable {
    void (*maxima)(const float* x, int64_t n, float* most);  // most: one number for each block
    void (*sums)(const float* x, int64_t n, float scale, float* most, float* sums);  // of e^((x - most) * scale)
};

extern const SampleTable sample_scalar, sample_neon, sample_avx2, sample_avx512;
const SampleTable& sample_table();

// Writes the ids, rising, of the numbers of at least `threshold`; blocks whose maximum lies below it are not looked at.
// ids has room for every number of the others. Returns how many there are.
int64_t at_least(const float* x, int64_t n, const float* maxima, float threshold, int32_t* ids);

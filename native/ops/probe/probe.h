#pragma once

#include <cstdint>

// What this machine's memory and arithmetic can do at most, measured by kernels that do nothing else.
struct ProbeTable {
    // A multiply-add loop: `work(rounds)` does rounds * adds_per_round of them and returns a number that depends on all.
    struct Rate {
        uint64_t (*work)(int64_t rounds);
        int64_t adds_per_round;
    };

    uint64_t (*read)(const uint8_t* data, int64_t bytes);  // every byte once, aligned to 64, bytes % 512 == 0
    Rate int8, f32;
};

extern const ProbeTable probe_scalar, probe_neon, probe_avx2, probe_avx512;
const ProbeTable& probe_table();

#if defined(__x86_64__)
extern const ProbeTable::Rate probe_avx512bf16, probe_amx;
#endif
// Where no instruction multiplies bfloat16, weights of that format are widened and multiplied as float32.
const ProbeTable::Rate& probe_bf16();

#include "probe.h"

#include <immintrin.h>

#include "in_turn.h"

// Reading: 8 loads of 64 bytes in flight, asked for as weights are (in turn, or 4 KiB ahead); the adds are far from the limit.
// Multiply-adds: 16 chains hide a latency of 4 to 5 cycles at up to 2 instructions a cycle; 64 int8 products
// an instruction with vpdpbusd, 16 float32 ones with vfmadd.
static uint64_t read(const uint8_t* data, int64_t bytes) {
    __m512i sums[8];
    for (auto& sum : sums) sum = _mm512_setzero_si512();
    const bool turns = fetches_in_turn();
    for (int64_t i = 0; i < bytes; i += 512)
        for (int j = 0; j < 8; ++j) {
            const uint8_t* line = data + i + 64 * j;
            if (turns) __builtin_prefetch(in_turn(line), 0, 2);
            else __builtin_prefetch(line + 4096);
            sums[j] = _mm512_add_epi64(sums[j], _mm512_load_si512(data + i + 64 * j));
        }
    for (int j = 1; j < 8; ++j) sums[0] = _mm512_add_epi64(sums[0], sums[j]);
    return static_cast<uint64_t>(_mm512_reduce_add_epi64(sums[0]));
}

static uint64_t int8(int64_t rounds) {
    __m512i x = _mm512_set1_epi8(3), w = _mm512_set1_epi8(-5), sums[16];
    for (auto& sum : sums) sum = _mm512_setzero_si512();
    for (int64_t r = 0; r < rounds; ++r)
        for (int j = 0; j < 16; ++j) sums[j] = _mm512_dpbusd_epi32(sums[j], x, w);
    for (int j = 1; j < 16; ++j) sums[0] = _mm512_add_epi32(sums[0], sums[j]);
    return static_cast<uint64_t>(_mm512_reduce_add_epi32(sums[0]));
}

static uint64_t f32(int64_t rounds) {
    __m512 x = _mm512_set1_ps(1e-3f), w = _mm512_set1_ps(2.0f), sums[16];
    for (auto& sum : sums) sum = _mm512_setzero_ps();
    for (int64_t r = 0; r < rounds; ++r)
        for (int j = 0; j < 16; ++j) sums[j] = _mm512_fmadd_ps(x, w, sums[j]);
    for (int j = 1; j < 16; ++j) sums[0] = _mm512_add_ps(sums[0], sums[j]);
    return static_cast<uint64_t>(_mm512_reduce_add_ps(sums[0]));
}

const ProbeTable probe_avx512 = {read, {int8, 16 * 64}, {f32, 16 * 16}};

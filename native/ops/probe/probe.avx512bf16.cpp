#include "probe.h"

#include <immintrin.h>

// As the loops of probe.avx512.cpp: 32 products an instruction with vdpbf16ps.
static uint64_t bf16(int64_t rounds) {
    __m512 sums[16];
    __m512bh x = _mm512_cvtne2ps_pbh(_mm512_set1_ps(1e-3f), _mm512_set1_ps(2e-3f)), w = _mm512_cvtne2ps_pbh(_mm512_set1_ps(2.0f), _mm512_set1_ps(1.0f));
    for (auto& sum : sums) sum = _mm512_setzero_ps();
    for (int64_t r = 0; r < rounds; ++r)
        for (int j = 0; j < 16; ++j) sums[j] = _mm512_dpbf16_ps(sums[j], x, w);
    for (int j = 1; j < 16; ++j) sums[0] = _mm512_add_ps(sums[0], sums[j]);
    return static_cast<uint64_t>(_mm512_reduce_add_ps(sums[0]));
}

const ProbeTable::Rate probe_avx512bf16 = {bf16, 16 * 32};

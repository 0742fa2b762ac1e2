#include "probe.h"

#include "isa.h"

// Plain C++, which the compiler vectorises for the baseline instruction set as it does the other scalar kernels.
static uint64_t read(const uint8_t* data, int64_t bytes) {
    auto words = reinterpret_cast<const uint64_t*>(data);
    uint64_t sums[4] = {};
    for (int64_t i = 0; i < bytes / 8; i += 4)
        for (int j = 0; j < 4; ++j) sums[j] += words[i + j];
    return sums[0] + sums[1] + sums[2] + sums[3];
}

static uint64_t int8(int64_t rounds) {
    int8_t x[256], w[256];
    for (int i = 0; i < 256; ++i) x[i] = static_cast<int8_t>(i), w[i] = static_cast<int8_t>(3 * i);
    int32_t sum = 0;
    for (int64_t r = 0; r < rounds; ++r) {
        x[r % 256] = static_cast<int8_t>(r);
        for (int i = 0; i < 256; ++i) sum += static_cast<int16_t>(x[i]) * static_cast<int16_t>(w[i]);
    }
    return static_cast<uint64_t>(sum);
}

static uint64_t f32(int64_t rounds) {
    float sums[32] = {}, x = 1e-3f;
    for (int64_t r = 0; r < rounds; ++r)
        for (float& sum : sums) sum = sum * x + 1.0f;
    float total = 0;
    for (float sum : sums) total += sum;
    return static_cast<uint64_t>(total);
}

const ProbeTable probe_scalar = {read, {int8, 256}, {f32, 32}};

#if defined(__x86_64__)
const ProbeTable& probe_table() { return choose(&probe_scalar, static_cast<const ProbeTable*>(nullptr), &probe_avx2, &probe_avx512); }
const ProbeTable::Rate& probe_bf16() { return has_tiles() ? probe_amx : has_bf16_dot() ? probe_avx512bf16 : probe_table().f32; }
#elif defined(__aarch64__)
const ProbeTable& probe_table() {
    return choose(&probe_scalar, &probe_neon, static_cast<const ProbeTable*>(nullptr), static_cast<const ProbeTable*>(nullptr));
}
const ProbeTable::Rate& probe_bf16() { return probe_table().f32; }
#else
const ProbeTable& probe_table() { return probe_scalar; }
const ProbeTable::Rate& probe_bf16() { return probe_table().f32; }
#endif

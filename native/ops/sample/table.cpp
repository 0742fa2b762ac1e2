#include "isa.h"
#include "sample.h"

const SampleTable& sample_table() {
#if defined(__x86_64__)
    static const SampleTable& table = choose<SampleTable>(&sample_scalar, nullptr, &sample_avx2, &sample_avx512);
#elif defined(__aarch64__)
    static const SampleTable& table = choose<SampleTable>(&sample_scalar, &sample_neon, nullptr, nullptr);
#else
    static const SampleTable& table = sample_scalar;
#endif
    return table;
}

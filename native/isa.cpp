#include "isa.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

const char* isa_name(Isa which) {
    switch (which) {
        case Isa::scalar: return "scalar";
        case Isa::neon: return "neon";
        case Isa::avx2: return "avx2";
        case Isa::avx512: return "avx512";
    }
    return "unknown";
}

bool has_isa(Isa which) {
    if (which == Isa::scalar) return true;
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    if (which == Isa::avx2) return avx2;
    if (which == Isa::avx512)
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vnni");
    return false;
#elif defined(__aarch64__)
    return which == Isa::neon;
#else
    return false;
#endif
}

static Isa best_isa() {
    for (Isa which : {Isa::avx512, Isa::avx2, Isa::neon})
        if (has_isa(which)) return which;
    return Isa::scalar;
}

static Isa chosen_isa() {
    const char* wanted = std::getenv("DIVEBELL_ISA");
    if (!wanted || !*wanted) return best_isa();
    for (Isa which : {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512})
        if (!std::strcmp(wanted, isa_name(which))) {
            if (has_isa(which)) return which;
            throw std::runtime_error(std::string("DIVEBELL_ISA=") + wanted + ": this processor does not have it (best: " +
                                     isa_name(best_isa()) + ")");
        }
    throw std::runtime_error(std::string("DIVEBELL_ISA=") + wanted + ": allowed are scalar, neon, avx2, avx512");
}

Isa isa() {
    static const Isa which = chosen_isa();
    return which;
}

bool has_bf16_dot() {
#if defined(__x86_64__)
    return isa() == Isa::avx512 && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

#include "isa.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

const char* isa_name(Isa which) {
    switch (which) {
        case Isa::scalar: return "scalar";
        case Isa::neon: return "neon";
        case Isa::avx2: return "avx2";
        case Isa::avx512: return "avx512";
        case Isa::amx: return "amx";
    }
    return "unknown";
}

// Whether the processor has tiles and multiplies bfloat16 in them, and the system saves them for this process from here on.
static bool tiles_granted() {
#if defined(__x86_64__) && defined(__linux__)
    constexpr unsigned bf16 = 1u << 22, tile = 1u << 24;                // CPUID 7.0, EDX
    constexpr int request_permission = 0x1023, tile_data = 18;          // arch_prctl(2): ARCH_REQ_XCOMP_PERM, Linux 5.16
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & bf16) || !(d & tile)) return false;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return false;
#endif
}

bool has_isa(Isa which) {
    if (which == Isa::scalar) return true;
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    if (which == Isa::avx2) return avx2;
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
    if (which == Isa::avx512) return avx512;
    return which == Isa::amx && avx512 && __builtin_cpu_supports("avx512bf16") && tiles_granted();
#elif defined(__aarch64__)
    return which == Isa::neon;
#else
    return false;
#endif
}

static Isa best_isa() {
    for (Isa which : {Isa::amx, Isa::avx512, Isa::avx2, Isa::neon})
        if (has_isa(which)) return which;
    return Isa::scalar;
}

static Isa chosen_isa() {
    const char* wanted = std::getenv("DIVEBELL_ISA");
    if (!wanted || !*wanted) return best_isa();
    for (Isa which : {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512, Isa::amx})
        if (!std::strcmp(wanted, isa_name(which))) {
            if (has_isa(which)) return which;
            throw std::runtime_error(std::string("DIVEBELL_ISA=") + wanted + ": this processor does not have it (best: " +
                                     isa_name(best_isa()) + ")");
        }
    throw std::runtime_error(std::string("DIVEBELL_ISA=") + wanted + ": allowed are scalar, neon, avx2, avx512, amx");
}

Isa isa() {
    static const Isa which = chosen_isa();
    return which;
}

bool has_avx512() { return isa() == Isa::avx512 || isa() == Isa::amx; }

bool has_bf16_dot() {
#if defined(__x86_64__)
    return has_avx512() && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

bool has_tiles() { return isa() == Isa::amx; }

#include "isa.h"
#include "rotate.h"

const RotateTable& rotate_table() {
#if defined(__x86_64__)
    static const RotateTable& table = choose<RotateTable>(&rotate_scalar, nullptr, &rotate_avx2, &rotate_avx512);
#elif defined(__aarch64__)
    static const RotateTable& table = choose<RotateTable>(&rotate_scalar, &rotate_neon, nullptr, nullptr);
#else
    static const RotateTable& table = rotate_scalar;
#endif
    return table;
}

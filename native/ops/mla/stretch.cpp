#include "stretch.h"

#include "isa.h"

const StretchTable* stretch_table() {
#if defined(__x86_64__)
    if (has_tiles()) return &stretch_amx;
    if (has_bf16_dot()) return &stretch_avx512bf16;
    if (isa() == Isa::avx2) return &stretch_avx2;
#endif
    return nullptr;
}

#include "attention.h"
#include "isa.h"

const AttentionTable& attention_table() {
#if defined(__x86_64__)
    const AttentionTable* wide = has_tiles() ? &attention_amx : has_bf16_dot() ? &attention_avx512bf16 : &attention_avx512;
    static const AttentionTable& table = choose<AttentionTable>(&attention_scalar, nullptr, &attention_avx2, wide);
#else
    static const AttentionTable& table = choose<AttentionTable>(&attention_scalar, &attention_neon, nullptr, nullptr);
#endif
    return table;
}

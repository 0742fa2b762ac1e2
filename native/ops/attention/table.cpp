#include "attention.h"
#include "isa.h"

const AttentionTable& attention_table() {
#if defined(__x86_64__)
    static const AttentionTable& table = choose<AttentionTable>(&attention_scalar, nullptr, &attention_avx2, &attention_avx512);
#else
    static const AttentionTable& table = choose<AttentionTable>(&attention_scalar, &attention_neon, nullptr, nullptr);
#endif
    return table;
}

#include "kernels.h"

extern const AttentionTable attention_avx512;
const AttentionTable attention_avx512 = {scores, soften, values, narrow, false};

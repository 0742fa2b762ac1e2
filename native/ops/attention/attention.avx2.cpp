#include "kernels.h"

extern const AttentionTable attention_avx2;
const AttentionTable attention_avx2 = {scores, soften, values, narrow, false};

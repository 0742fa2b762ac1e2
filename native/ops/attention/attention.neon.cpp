#include "kernels.h"

extern const AttentionTable attention_neon;
const AttentionTable attention_neon = {scores, soften, values, narrow, false};

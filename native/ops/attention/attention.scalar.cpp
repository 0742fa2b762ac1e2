#include "kernels.h"

extern const AttentionTable attention_scalar;
const AttentionTable attention_scalar = {scores, soften, values, narrow, false};

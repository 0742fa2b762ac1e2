#include "kernels.h"

extern const SampleTable sample_neon;
const SampleTable sample_neon = {maxima, sums};

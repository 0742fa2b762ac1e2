#include "kernels.h"

extern const SampleTable sample_avx2;
const SampleTable sample_avx2 = {maxima, sums};

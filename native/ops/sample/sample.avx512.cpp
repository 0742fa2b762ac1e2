#include "kernels.h"

extern const SampleTable sample_avx512;
const SampleTable sample_avx512 = {maxima, sums};

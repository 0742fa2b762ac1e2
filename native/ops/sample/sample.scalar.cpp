#include "kernels.h"

extern const SampleTable sample_scalar;
const SampleTable sample_scalar = {maxima, sums};

#include "kernels.h"

extern const RotateTable rotate_avx512;
const RotateTable rotate_avx512 = {rotate<turn_neighbours>, rotate<turn_halves>};

#include "kernels.h"

extern const RotateTable rotate_avx2;
const RotateTable rotate_avx2 = {rotate<turn_neighbours>, rotate<turn_halves>};

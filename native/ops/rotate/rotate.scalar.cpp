#include "kernels.h"

extern const RotateTable rotate_scalar;
const RotateTable rotate_scalar = {rotate<turn_neighbours>, rotate<turn_halves>};

#include "kernels.h"

extern const RotateTable rotate_neon;
const RotateTable rotate_neon = {rotate<turn_neighbours>, rotate<turn_halves>};

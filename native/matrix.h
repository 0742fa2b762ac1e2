#pragma once

#include "bind.h"
#include "weight.h"

// Python's `_native.Weight`: a Weight together with the arrays that it points into.
struct Matrix {
    Weight weight;
    nb::object data, scales;
};

#pragma once

#include <memory>

#include "bind.h"
#include "ops/linear/moving.h"
#include "weight.h"

// Python's `_native.Moving`: what moves, together with the arrays that it moves between.
struct MovingMatrix {
    std::unique_ptr<Moving> moving;
    nb::object from, to;
};

// Python's `_native.Weight`: a Weight together with what it points into.
struct Matrix {
    Weight weight;
    nb::object data, scales, moving;
};

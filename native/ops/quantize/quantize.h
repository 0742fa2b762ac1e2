#pragma once

#include <cstdint>

#include "weight.h"

// Numbers into divebell's own formats (ops/linear/planes.h). Of the scales that a group of 32 can have, some are tried, and
// the one with the least sum of importance * error^2 is kept. A chunk's result depends on its own numbers alone.

// One row of `cols` (a multiple of 32) finite numbers. importance: of each column, or null for all the same.
// False where a number is too large for the format.
bool quantize_row(Format format, const float* x, const float* importance, int64_t cols, uint8_t* out);

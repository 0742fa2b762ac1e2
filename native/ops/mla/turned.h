#pragma once

#include "weight.h"
#include "workspace.h"

// A matrix (rows, cols) as its transpose, so that rows of the other length can be multiplied by it: in float32, and where
// the matrix lies in blocks and its transpose can, rounded to Q8_0, which multiplies in int8 as the blocks do; in panels where many
// tokens are multiplied in tiles. The result lies in `space`.
Weight turned(const Weight& w, Workspace* space);

#pragma once

#include <cstdint>

#include "weight.h"

// The same numbers in lanes (lanes.avx2.h), or the format itself if it has no such order.
Format in_lanes(Format format);

// Row r of w, whose format has an order in lanes, in that order: row_bytes of them.
void arrange_row(const Weight& w, int64_t r, uint8_t* out);

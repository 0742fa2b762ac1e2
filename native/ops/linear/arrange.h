#pragma once

#include <cstdint>

#include "weight.h"

// The same bits of a matrix in another order, in which some kernels multiply them faster: moved once (moving.h).
//   lanes   (AVX2) a chunk of a row stays where it is, its bytes do not: lanes.avx2.h
//   panels  (AVX-512) 32 rows lie side by side: of each block of theirs first the binary16 number that is no part of a word of
//           4 bytes, if there is one, of all 32 rows; then the block's first word of all 32 rows, the second one, ...

// The number of w's format in lanes, or in panels; w's own if it has no such order.
Format in_lanes(const Weight& w);
Format in_panels(const Weight& w);

// Row r of w in lanes: row_bytes of them. Rows r to r + panel_rows - 1 in panels.
void arrange_row(const Weight& w, int64_t r, uint8_t* out);
void arrange_panel(const Weight& w, int64_t r, uint8_t* out);

#pragma once

#include <cstdint>

#include "isa.h"

// An order in which memory that is read from front to back is fetched ahead: for each line of 16 KB one of the next 16 KB, from its four
// pages in turn, where each page has a prefetcher of its own, and one alone does not hide what memory takes behind what is computed
// meanwhile. Processors with AMX are such; no other has been measured (docs/log.md).
__attribute__((always_inline)) inline bool fetches_in_turn() { return has_tiles(); }

constexpr int64_t line_bytes = 64, page_bytes = 4096, pages_in_turn = 4, stretch_bytes = pages_in_turn * page_bytes;

__attribute__((always_inline)) inline const uint8_t* in_turn(const uint8_t* p) {
    const int64_t at = static_cast<int64_t>(reinterpret_cast<uintptr_t>(p) % stretch_bytes), n = at / line_bytes;
    return p - at + stretch_bytes + n % pages_in_turn * page_bytes + n / pages_in_turn * line_bytes;
}

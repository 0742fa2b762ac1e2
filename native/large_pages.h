#pragma once

#include <cstdint>

// Exchanges the memory mapped at [data, data + bytes) for private large pages of the same bytes, at the same addresses and
// read-only, in whole pages of 2 MB. For mapped files that the system holds in small pages: a stream of small reads all over
// a file then misses the TLB at every one. Readers notice nothing. Returns the bytes exchanged: less than `bytes` by what is
// no whole large page, and by all that the system refused.
int64_t exchange_for_large_pages(uint8_t* data, int64_t bytes);

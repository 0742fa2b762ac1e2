#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

// Fetches blocks begin .. end of `bytes` each into L2, a few lines at a time.
class Ahead {
public:
    Ahead(const uint8_t* const* blocks, int64_t begin, int64_t end, int64_t bytes) : blocks_(blocks), block_(begin), end_(end), bytes_(bytes) {}

    inline void fetch(int lines) {
        for (; lines > 0 && block_ < end_; --lines) {
            _mm_prefetch(reinterpret_cast<const char*>(blocks_[block_] + at_), _MM_HINT_T1);
            if ((at_ += 64) >= bytes_) at_ = 0, ++block_;
        }
    }

private:
    const uint8_t* const* blocks_;
    int64_t block_, end_, bytes_, at_ = 0;
};

}  // namespace

#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

namespace {

// Fetches blocks begin .. end of `bytes` each into L2, a few lines at a time.
class Ahead {
public:
    Ahead(const uint8_t* const* blocks, int64_t begin, int64_t end, int64_t bytes) : blocks_(blocks), block_(begin), end_(end), bytes_(bytes) {}

    inline void fetch(int lines) {
        for (; lines > 0 && block_ < end_; ++block_, at_ = 0) {
            const int64_t from = at_, to = std::min(bytes_, from + 64 * static_cast<int64_t>(lines));
            for (int64_t at = from; at < to; at += 64) _mm_prefetch(reinterpret_cast<const char*>(blocks_[block_] + at), _MM_HINT_T1);
            lines -= static_cast<int>((to - from + 63) / 64);
            if (to < bytes_) return static_cast<void>(at_ = to);
        }
    }

private:
    const uint8_t* const* blocks_;
    int64_t block_, end_, bytes_, at_ = 0;
};

}  // namespace

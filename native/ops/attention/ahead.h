#pragma once

#include <cstdint>

// Stretches of memory, `bytes` each, that are read after what is multiplied now: fetched into L2 a few lines at a time, as a
// burst of fetches makes the processor wait like loads do. `end` of them, or those from `begin` on.
// Members are copied into the kernels of every instruction set, never one that the linker picked.
class Ahead {
public:
    __attribute__((always_inline)) Ahead(const uint8_t* const* stretches, int64_t begin, int64_t end, int64_t bytes)
        : stretches_(stretches), stretch_(begin), end_(end), bytes_(bytes) {}

    __attribute__((always_inline)) void fetch(int64_t lines) {
        for (; lines > 0 && stretch_ < end_; ++stretch_, at_ = 0) {
            const int64_t from = at_, to = bytes_ - from < 64 * lines ? bytes_ : from + 64 * lines;
            for (int64_t at = from; at < to; at += 64) __builtin_prefetch(stretches_[stretch_] + at, 0, 2);
            lines -= (to - from + 63) / 64;
            if (to < bytes_) return static_cast<void>(at_ = to);
        }
    }

private:
    const uint8_t* const* stretches_;
    int64_t stretch_, end_, bytes_, at_ = 0;
};

#include "moving.h"

#include <algorithm>
#include <thread>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "arrange.h"
#include "pool.h"

namespace {

constexpr int64_t group_panels = 64;  // whose pages are given back together: some megabytes

}  // namespace

Moving::Moving(const Weight& from, Format order, uint8_t* to, bool mapped)
    : from_(from), order_(order), to_(to), mapped_(mapped), panels_((from.rows + panel_rows - 1) / panel_rows), left_(panels_),
      states_(new std::atomic<uint8_t>[panels_]) {
    for (int64_t panel = 0; panel < panels_; ++panel) states_[panel].store(waiting, std::memory_order_relaxed);
}

bool Moving::holds(const uint8_t* data, int64_t bytes) const {
    const int64_t at = data - to_, all = from_.rows * from_.row_bytes;
    return at >= 0 && bytes <= all && at <= all - bytes && at % from_.row_bytes == 0;
}

void Moving::bring_all() {
    pool::parallel(panels_, std::max<int64_t>(1, (256 << 10) / (panel_rows * from_.row_bytes)), [&](int64_t begin, int64_t end) {
        for (int64_t panel = begin; panel < end; ++panel) bring_panel(panel);
    });
}

int64_t Moving::rows_before(int64_t panel) const { return std::min(panel * panel_rows, from_.rows); }

void Moving::bring_panel(int64_t panel) {
    std::atomic<uint8_t>& state = states_[panel];
    if (state.load(std::memory_order_acquire) == there) return;
    if (uint8_t known = waiting; !state.compare_exchange_strong(known, on_its_way)) {
        while (state.load(std::memory_order_acquire) != there) std::this_thread::yield();
        return;
    }
    move(panel);
    state.store(there);  // in one order for all threads: whoever is the last of a group sees that the others are there
    if (mapped_) give_back(panel / group_panels);
    left_.fetch_sub(1);
}

void Moving::move(int64_t panel) {
    const int64_t first = rows_before(panel);
    if (is_in_panels(order_)) return arrange_panel(from_, first, to_ + first * from_.row_bytes);
    for (int64_t r = first; r < rows_before(panel + 1); ++r) arrange_row(from_, r, to_ + r * from_.row_bytes);
}

// The whole pages of a group all of which is there: they are read again if somebody looks at them.
void Moving::give_back(int64_t group) {
#if defined(__linux__)
    const int64_t first = group * group_panels, last = std::min(panels_, first + group_panels);
    for (int64_t panel = first; panel < last; ++panel)
        if (states_[panel].load() != there) return;
    const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(from_.row(rows_before(first))) + page - 1) / page * page;
    const uintptr_t end = reinterpret_cast<uintptr_t>(from_.row(rows_before(last))) / page * page;
    if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
#else
    (void)group;
#endif
}

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

constexpr int64_t group_panels = 16;  // whose pages are asked for and given back together: half a megabyte

#if defined(__linux__)
constexpr int ask = 22, give_back = MADV_DONTNEED;  // madvise(2); 22: MADV_POPULATE_READ, Linux 5.14, instead of a fault for each few pages
#else
constexpr int ask = 0, give_back = 0;
#endif

}  // namespace

Moving::Moving(const Weight& from, Format order, uint8_t* to, bool mapped)
    : from_(from), order_(order), to_(to), mapped_(mapped), panels_((from.rows + panel_rows - 1) / panel_rows), left_(panels_),
      states_(new std::atomic<uint8_t>[panels_]), asked_(new std::atomic<bool>[panels_ / group_panels + 1]()) {
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
    const int64_t group = panel / group_panels;
    if (mapped_ && !asked_[group].exchange(true)) advise(group, ask, false);
    move(panel);
    state.store(there);  // in one order for all threads: whoever is the last of a group sees that the others are there
    if (mapped_ && all_there(group)) advise(group, give_back, true);
    left_.fetch_sub(1);
}

void Moving::move(int64_t panel) {
    const int64_t first = rows_before(panel);
    if (is_in_panels(order_)) return arrange_panel(from_, first, to_ + first * from_.row_bytes);
    for (int64_t r = first; r < rows_before(panel + 1); ++r) arrange_row(from_, r, to_ + r * from_.row_bytes);
}

bool Moving::all_there(int64_t group) const {
    for (int64_t panel = group * group_panels; panel < std::min(panels_, (group + 1) * group_panels); ++panel)
        if (states_[panel].load() != there) return false;
    return true;
}

// On the file's pages that have any of a group, or alone nothing else. What was given back is read again if somebody looks at it;
// older systems know some advice not, and do without.
void Moving::advise(int64_t group, int advice, bool alone) const {
#if defined(__linux__)
    const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)), down = alone ? 0 : page - 1, up = page - 1 - down;
    const uintptr_t begin = reinterpret_cast<uintptr_t>(from_.row(rows_before(group * group_panels)));
    const uintptr_t end = reinterpret_cast<uintptr_t>(from_.row(rows_before((group + 1) * group_panels)));
    const uintptr_t first = (begin + up) / page * page, last = (end + down) / page * page;
    if (last > first) madvise(reinterpret_cast<void*>(first), last - first, advice);
#else
    (void)group, (void)advice, (void)alone;
#endif
}

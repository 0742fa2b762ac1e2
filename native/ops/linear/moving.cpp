#include "moving.h"

#include <algorithm>
#include <thread>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "arrange.h"
#include "pool.h"
#include "workspace.h"

namespace {

constexpr int64_t group_panels = 16;  // whose pages are asked for and given back together: half a megabyte

#if defined(__linux__)
constexpr int ask = 22, give_back = MADV_DONTNEED;  // madvise(2); 22: MADV_POPULATE_READ, Linux 5.14, instead of a fault for each few pages
#else
constexpr int ask = 0, give_back = 0;
#endif

thread_local Workspace arranged;

// For each panel that has any of n rows from `first` on.
template <class F>
void of_rows(int64_t first, int64_t n, const F& f) {
    for (int64_t panel = first / panel_rows; panel * panel_rows < first + n; ++panel) f(panel);
}

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

void Moving::bring_rows(int64_t first, int64_t n) {
    of_rows(first, n, [&](int64_t panel) { bring_panel(panel); });
}

const uint8_t* Moving::read_rows(int64_t first, int64_t n) {
    bool fresh = true;
    of_rows(first, n, [&](int64_t panel) { fresh &= is_first_to_read(panel); });
    if (!fresh) {
        bring_rows(first, n);
        return to_ + first * from_.row_bytes;
    }
    uint8_t* out = arranged.get<uint8_t>(n * from_.row_bytes);
    arrange(first, n, out);
    of_rows(first, n, [&](int64_t panel) { let_go(panel, seen); });
    return out;
}

bool Moving::is_first_to_read(int64_t panel) {
    uint8_t known = waiting;
    if (!states_[panel].compare_exchange_strong(known, seen)) return false;
    ask_for(panel);
    return true;
}

void Moving::bring_panel(int64_t panel) {
    std::atomic<uint8_t>& state = states_[panel];
    uint8_t known = state.load(std::memory_order_acquire);
    while (known < on_its_way && !state.compare_exchange_weak(known, on_its_way)) {}
    if (known >= on_its_way) {
        while (state.load(std::memory_order_acquire) != there) std::this_thread::yield();
        return;
    }
    ask_for(panel);
    const int64_t first = rows_before(panel), n = rows_before(panel + 1) - first;
    arrange(first, n, to_ + first * from_.row_bytes);
    state.store(there);
    let_go(panel, there);
    left_.fetch_sub(1);
}

void Moving::arrange(int64_t first, int64_t n, uint8_t* out) const {
    if (is_in_panels(order_)) return arrange_panel(from_, first, out);
    for (int64_t r = first; r < first + n; ++r, out += from_.row_bytes) arrange_row(from_, r, out);
}

void Moving::ask_for(int64_t panel) {
    const int64_t group = panel / group_panels;
    if (mapped_ && !asked_[group].exchange(true)) advise(group, ask, false);
}

// Gives a group's pages back once all of it has come to `state`. Stores to states have one order for all threads, so that whoever is
// the last of a group sees the others.
void Moving::let_go(int64_t panel, State state) {
    const int64_t group = panel / group_panels;
    if (!mapped_) return;
    for (int64_t each = group * group_panels; each < std::min(panels_, (group + 1) * group_panels); ++each)
        if (states_[each].load() < state) return;
    asked_[group].store(false);
    advise(group, give_back, true);
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

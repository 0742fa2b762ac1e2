#pragma once

#include <atomic>
#include <memory>

#include "tiles.h"

// A matrix, or a stack of them, on its way into another order (arrange.h): each panel of rows moves when it is first read, so
// that a model answers before all of it is where it will be read fastest. Products are the same bits before and after.
class Moving {
public:
    // to: as many bytes as `from` has. mapped: those are a file's, whose pages are given back as they have moved.
    Moving(const Weight& from, Format order, uint8_t* to, bool mapped);

    Format order() const { return order_; }
    bool holds(const uint8_t* data, int64_t bytes) const;  // whether these are whole rows of what moves

    // n rows from the one that lies at `row` on are about to be read. May be called by several threads.
    void bring(const uint8_t* row, int64_t n) {
        if (left_.load(std::memory_order_acquire) == 0) return;
        const int64_t first = (row - to_) / from_.row_bytes;
        for (int64_t panel = first / panel_rows; panel * panel_rows < first + n; ++panel) bring_panel(panel);
    }
    void bring_all();

private:
    enum State : uint8_t { waiting, on_its_way, there };

    int64_t rows_before(int64_t panel) const;
    void bring_panel(int64_t panel);
    void move(int64_t panel);
    bool all_there(int64_t group) const;
    void advise(int64_t group, int advice, bool alone) const;

    const Weight from_;
    const Format order_;
    uint8_t* const to_;
    const bool mapped_;
    const int64_t panels_;
    std::atomic<int64_t> left_;
    std::unique_ptr<std::atomic<uint8_t>[]> states_;
    std::unique_ptr<std::atomic<bool>[]> asked_;
};

// The only ways to a weight's numbers, wherever they are: as LinearTable says.
inline void panel_times(const Weight& w, int64_t first, int64_t n, const Input& in, float* out, int64_t stride) {
    if (w.moving) w.moving->bring(w.row(first), n);
    if (in.tiles && is_in_panels(w.format)) return tile_table()->panel(w, first, in, out, stride);
    linear_table().panel(w, first, n, in, out, stride);
}
inline void decode_row(const Weight& w, int64_t r, float* out) {
    if (w.moving) w.moving->bring(w.row(r), 1);
    linear_table().decode(w, r, out);
}

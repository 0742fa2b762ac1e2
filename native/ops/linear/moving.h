#pragma once

#include <atomic>
#include <memory>

#include "tiles.h"

// A matrix, or a stack of them, on its way into another order (arrange.h), so that a model answers before all of it is where it
// will be read fastest. A panel's first reader arranges it in memory of its own, the second where it belongs: the system takes twice
// as long to clear fresh memory as the panel takes to be arranged. Products are the same bits before and after.
class Moving {
public:
    // to: as many bytes as `from` has. mapped: those are a file's, whose pages are given back as they have been read.
    Moving(const Weight& from, Format order, uint8_t* to, bool mapped);

    Format order() const { return order_; }
    bool holds(const uint8_t* data, int64_t bytes) const;  // whether these are whole rows of what moves

    // Brings n rows from the one that lies at `row` on to where they belong. May be called by several threads, as the next.
    void bring(const uint8_t* row, int64_t n) {
        if (!all_there()) bring_rows((row - to_) / from_.row_bytes, n);
    }
    // Where those can be read until the calling thread asks for others.
    const uint8_t* read(const uint8_t* row, int64_t n) { return all_there() ? row : read_rows((row - to_) / from_.row_bytes, n); }
    void bring_all();

private:
    enum State : uint8_t { waiting, seen, on_its_way, there };

    bool all_there() const { return left_.load(std::memory_order_acquire) == 0; }
    int64_t rows_before(int64_t panel) const;
    void bring_rows(int64_t first, int64_t n);
    const uint8_t* read_rows(int64_t first, int64_t n);
    bool is_first_to_read(int64_t panel);
    void bring_panel(int64_t panel);
    void arrange(int64_t first, int64_t n, uint8_t* out) const;
    void ask_for(int64_t panel);
    void let_go(int64_t panel, State state);
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
inline void panel_times(const Weight& stored, int64_t first, int64_t n, const Input& in, float* out, int64_t stride) {
    Weight w = stored;
    if (w.moving) w.data = w.moving->read(w.row(first), n) - first * w.row_bytes;
    if (in.tiles && is_in_panels(w.format)) return tile_table()->panel(w, first, in, out, stride);
    linear_table().panel(w, first, n, in, out, stride);
}
inline void decode_row(const Weight& w, int64_t r, float* out) {
    if (w.moving) w.moving->bring(w.row(r), 1);
    linear_table().decode(w, r, out);
}

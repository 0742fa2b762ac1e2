#pragma once

// Products of matrices of bfloat16 in tiles (AMX): 16 rows of 64 bytes. Sums are float32 in tiles 0 to 3, the left-hand side's rows
// in 4 and 5, the right-hand side's in 6 and 7, pairs of their numbers to be added up side by side.
// Internal linkage, since each file is built with its own flags.

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

namespace {

constexpr int tile_side = 16, tile_step = 32, tile_size = tile_side * tile_step;  // rows; numbers of a row, of a tile
constexpr int64_t tile_line = 64;                                                // bytes of a row

// GCC's tile loads and stores do not say which memory they read or write: nothing may be moved past this.
inline void written() { __asm__ volatile("" ::: "memory"); }

// The layout of tiles, of which sums and left-hand side have `rows` rows; gives the tiles back when it goes.
class Tiles {
public:
    explicit Tiles(int rows) { set(rows); }
    ~Tiles() { _tile_release(); }
    Tiles(const Tiles&) = delete;
    Tiles& operator=(const Tiles&) = delete;

    void set(int rows) {
        if (rows == rows_) return;
        rows_ = rows;
        alignas(64) Layout layout = {};
        layout.palette = 1;
        for (int i = 0; i < 8; ++i) layout.bytes[i] = tile_line, layout.rows[i] = static_cast<uint8_t>(i < 6 ? rows : tile_side);
        written();
        _tile_loadconfig(&layout);
    }

private:
    struct Layout {
        uint8_t palette, start, unused[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    };
    int rows_ = 0;
};

// Where a side's tiles lie: bytes from row to row, numbers to the next 32 of each row, and to the next 16 rows or columns.
struct TileSide {
    const uint16_t* at;
    int64_t line, step, next;
};

// y (16 M rows, 16 N columns) = a b, or what is there and that.
template <int M, int N>
inline void multiply_tiles(const TileSide& a, const TileSide& b, int64_t steps, bool fresh, float* y, int64_t stride) {
    alignas(64) static const float zeros[tile_side] = {};
    const int64_t line = stride * static_cast<int64_t>(sizeof(float)), below = tile_side * stride;
    const float* from = fresh ? zeros : y;
    const int64_t from_line = fresh ? 0 : line, from_right = fresh ? 0 : tile_side, from_below = fresh ? 0 : below;
    _tile_loadd(0, from, from_line);
    if constexpr (N == 2) _tile_loadd(1, from + from_right, from_line);
    if constexpr (M == 2) _tile_loadd(2, from + from_below, from_line);
    if constexpr (M == 2 && N == 2) _tile_loadd(3, from + from_below + from_right, from_line);
    const uint16_t *x = a.at, *w = b.at;
    for (int64_t s = 0; s < steps; ++s, x += a.step, w += b.step) {
        _tile_loadd(4, x, a.line);
        _tile_loadd(6, w, b.line);
        _tile_dpbf16ps(0, 4, 6);
        if constexpr (N == 2) {
            _tile_loadd(7, w + b.next, b.line);
            _tile_dpbf16ps(1, 4, 7);
        }
        if constexpr (M == 2) {
            _tile_loadd(5, x + a.next, a.line);
            _tile_dpbf16ps(2, 5, 6);
        }
        if constexpr (M == 2 && N == 2) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, y, line);
    if constexpr (N == 2) _tile_stored(1, y + tile_side, line);
    if constexpr (M == 2) _tile_stored(2, y + below, line);
    if constexpr (M == 2 && N == 2) _tile_stored(3, y + below + tile_side, line);
}

// The same of any number of rows and of columns in multiples of 16.
inline void multiply_in_tiles(Tiles* tiles, TileSide a, int64_t rows, const TileSide& right, int64_t columns, int64_t steps, bool fresh, float* y,
                              int64_t stride) {
    written();
    for (int64_t r = 0, n; r < rows; r += n, a.at += n / tile_side * a.next, y += n * stride) {
        n = rows - r >= 2 * tile_side ? 2 * tile_side : std::min<int64_t>(tile_side, rows - r);
        tiles->set(static_cast<int>(std::min<int64_t>(tile_side, n)));
        TileSide b = right;
        int64_t c = 0;
        auto by = [&]<int N>() {
            if (n == 2 * tile_side) multiply_tiles<2, N>(a, b, steps, fresh, y + c, stride);
            else multiply_tiles<1, N>(a, b, steps, fresh, y + c, stride);
            b.at += N * b.next, c += N * tile_side;
        };
        while (c + 2 * tile_side <= columns) by.template operator()<2>();
        if (c < columns) by.template operator()<1>();
    }
    written();
}

}  // namespace

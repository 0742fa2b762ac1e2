#pragma once

#include <cstring>

#include "linear.h"

// Rows that end within a chunk, with 1, 2 or 4 groups left: a chunk for each end would be mostly zeros. The ends of a panel's
// rows are joined instead, side by side: 8, 4 or 2 rows to a chunk, a lane to each group, and the activations' last chunk
// holds its groups as often (put_group in table.h).
namespace {

// Formats that are blocks of 32 columns, one after another or in lanes.
template <class B>
constexpr bool joins_ends = false;
template <class B>
    requires(B::columns == 32 && 8 * B::bytes == B::chunk_bytes)
constexpr bool joins_ends<B> = true;

// The groups at `from` as groups `lane` and following of a whole chunk. Groups: a number that the compiler knows, since copies of
// a few bytes would else be calls.
template <class B, int Groups>
inline void put_groups(const uint8_t* from, int64_t lane, uint8_t* chunk) {
    if constexpr (requires { B::put(from, Groups, lane, chunk); }) B::put(from, Groups, lane, chunk);
    else std::memcpy(chunk + lane * B::bytes, from, Groups * B::bytes);
}

// How many groups of 32 each row of so many columns leaves for a joined chunk.
template <class B>
inline int64_t joined_groups(int64_t cols) {
    int64_t groups = cols % chunk_cols / 32;
    return joins_ends<B> && groups && 8 % groups == 0 ? groups : 0;
}

template <class B>
class JoinedEnds {
public:
    // Of n rows from `first` on; the last one again where n does not fill a chunk. Rows that have nothing else lie joined already,
    // if they are blocks one after another.
    JoinedEnds(const Weight& w, int64_t first, int64_t n, int64_t whole_chunks, int64_t groups) {
        if (!in_lanes && !whole_chunks && n * groups % 16 == 0) begin_ = w.row(first);
        else if (groups == 1) join<1>(w, first, n, whole_chunks);
        else if (groups == 2) join<2>(w, first, n, whole_chunks);
        else join<4>(w, first, n, whole_chunks);
    }
    // An even number, as tiles have two rows.
    static int64_t chunks(int64_t n, int64_t groups) { return (n * groups + 15) / 16 * 2; }
    const uint8_t* chunk(int64_t i) const { return begin_ + i * B::chunk_bytes; }

private:
    static constexpr bool in_lanes = requires(uint8_t* p) { B::put(p, 1, 0, p); };

    template <int Groups>
    void join(const Weight& w, int64_t first, int64_t n, int64_t whole_chunks) {
        if constexpr (joins_ends<B>)
            for (int64_t r = 0; r * Groups < chunks(n, Groups) * 8; ++r) {
                const uint8_t* from = w.row(first + (r < n ? r : n - 1)) + whole_chunks * B::chunk_bytes;
                put_groups<B, Groups>(from, r * Groups % 8, bytes_ + r * Groups / 8 * B::chunk_bytes);
            }
    }

    alignas(32) uint8_t bytes_[panel_rows / 2 * B::chunk_bytes];  // of at most 4 groups a row
    const uint8_t* begin_ = bytes_;
};

// Sums of neighbours: of a, then of b.
inline __m256 neighbours(__m256 a, __m256 b) {
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_hadd_ps(a, b)), 0xd8));
}

// out[r] += the lanes of row r, neighbours first.
inline void add_lanes(const __m256* lanes, int64_t n, int64_t groups, float* out) {
    int64_t r = 0;
    for (; r + 8 <= n; r += 8, lanes += groups, out += 8) {
        __m256 sum = lanes[0];
        if (groups == 2) sum = neighbours(lanes[0], lanes[1]);
        if (groups == 4) sum = neighbours(neighbours(lanes[0], lanes[1]), neighbours(lanes[2], lanes[3]));
        _mm256_storeu_ps(out, _mm256_add_ps(_mm256_loadu_ps(out), sum));
    }
    const float* lane = reinterpret_cast<const float*>(lanes);
    for (; r < n; ++r, lane += groups, ++out)
        *out += groups == 1 ? lane[0] : groups == 2 ? lane[0] + lane[1] : (lane[0] + lane[1]) + (lane[2] + lane[3]);
}

}  // namespace

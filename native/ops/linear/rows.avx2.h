#pragma once

#include "blocks.avx2.h"
#include "ends.avx2.h"
#include "tile.h"

// A few tokens: rows of W are multiplied as they lie. A lane is one of a chunk's 8 groups of 32 columns, so that dot products
// add up in one register, and one conversion, one multiply and one fma serve 256 columns (twice that with groups of 16).
namespace {

// Products of bytes add up in 16 bits as long as they fit: how many vectors of them.
template <class B>
constexpr int vectors_in_16_bits = B::bits <= 4 ? 8 : B::bits == 5 ? 4 : B::bits == 6 ? 2 : 1;

// u x q, pairs of columns to 16 bits. Signed quants are multiplied as |u| by q with u's sign.
template <bool Signed>
inline __m256i pair_products(__m256i u, __m256i q) {
    return Signed ? _mm256_maddubs_epi16(_mm256_abs_epi8(u), _mm256_sign_epi8(q, u)) : _mm256_maddubs_epi16(u, q);
}
inline __m256i add_pairs(__m256i sum, __m256i pairs) { return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))); }

// Vectors From to From + Count of a chunk.
template <class S, class B, int From, int Count>
inline __m256i dots(__m256i sum, const __m256i* u, const Chunk& x) {
    constexpr int most = vectors_in_16_bits<B>, run = most < Count ? most : Count;
    for (int k = From; k < From + Count; k += run) {
        __m256i pairs = pair_products<is_signed<S, B>>(u[k], load32(x.q + 32 * k));
        for (int j = 1; j < run; ++j) pairs = _mm256_add_epi16(pairs, pair_products<is_signed<S, B>>(u[k + j], load32(x.q + 32 * (k + j))));
        sum = add_pairs(sum, pairs);
    }
    return sum;
}

// What dot products begin with, so that quants count from B::zero. Half: of groups of 16, the first or the second of each 32.
template <class S, class B, int Half>
inline __m256i start_of(const Chunk& x) {
    if constexpr (B::offset || is_signed<S, B>) return _mm256_setzero_si256();
    else
        return _mm256_mullo_epi32(B::group == 32 ? load32(x.minus32) : load32(x.minus16 + 8 * Half), _mm256_set1_epi32(B::zero));
}

// a and b of a chunk's groups, a lane each: of 32 columns, or of 16, where a[h] has every second one and b[h] eight in a row.
template <class B>
struct GroupScales {
    static constexpr int halves = 32 / B::group;
    __m256 a[halves], b[halves];

    GroupScales() = default;
    explicit GroupScales(const uint8_t* p) {
        if constexpr (requires { B::halves(p, a); }) B::halves(p, a);
        else sort(p);
    }
    void sort(const uint8_t* p) {
        alignas(32) float first[16], second[16];
        B::scales(p, first, second);
        if constexpr (halves == 1) a[0] = _mm256_load_ps(first);
        else a[0] = alternate<0>(first), a[1] = alternate<1>(first);
        if constexpr (B::offset)
            for (int h = 0; h < halves; ++h) b[h] = _mm256_load_ps(second + 8 * h);
    }
    template <int Half>
    __m256 add_dots(__m256i dots, __m256 scale, __m256 sum) const {
        return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), _mm256_mul_ps(a[Half], scale), sum);
    }
    __m256 add_offsets(const Chunk& x, __m256 sum) const {
        for (int h = 0; h < halves; ++h) sum = _mm256_fmadd_ps(b[h], _mm256_load_ps((halves == 1 ? x.sum32 : x.sum16) + 8 * h), sum);
        return sum;
    }
};

template <class S, class B>
inline __m256 add_chunk(const __m256i* u, const GroupScales<B>& scales, const Chunk& x, __m256 sum) {
    __m256 scale = _mm256_load_ps(x.scale);
    if constexpr (B::group == 32) {
        sum = scales.template add_dots<0>(dots<S, B, 0, 8>(start_of<S, B, 0>(x), u, x), scale, sum);
    } else {
        sum = scales.template add_dots<0>(dots<S, B, 0, 4>(start_of<S, B, 0>(x), u, x), scale, sum);
        sum = scales.template add_dots<1>(dots<S, B, 4, 4>(start_of<S, B, 1>(x), u, x), scale, sum);
    }
    return B::offset ? scales.add_offsets(x, sum) : sum;
}

// Into L2, and as far ahead of the bytes in use as memory is away; what follows lies `jump` behind the end.
inline void fetch_later(const uint8_t* p, int64_t bytes) {
    for (int64_t line = 0; line < bytes; line += 64) _mm_prefetch(reinterpret_cast<const char*>(p) + line, _MM_HINT_T1);
}

// Keeps GCC from computing all products first, and then their sums: products are more than there are registers.
inline __m256i in_register(__m256i v) {
    asm volatile("" : "+x"(v));
    return v;
}

// Formats whose nibbles lie in lanes: each vector is unpacked when its turn comes, and used up.
template <class B>
constexpr bool has_nibbles = requires(const uint8_t* p) { B::nibbles(p); };

template <class S, class B, int N>
inline void add_row_of_nibbles(const uint8_t* p, const Chunk* const* x, int64_t c, __m256* sum) {
    GroupScales<B> scales(p);
    __m256i pairs[N];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
        __m256i both = in_register(load32(B::nibbles(p) + 32 * k)), low = low_nibbles(both), high = low_nibbles(_mm256_srli_epi16(both, 4));
        for (int i = 0; i < N; ++i) {
            __m256i products = _mm256_maddubs_epi16(low, load32(x[i][c].q + 32 * k));
            pairs[i] = k ? in_register(_mm256_add_epi16(pairs[i], products)) : products;
            pairs[i] = in_register(_mm256_add_epi16(pairs[i], _mm256_maddubs_epi16(high, load32(x[i][c].q + 32 * (4 + k)))));
        }
    }
    for (int i = 0; i < N; ++i) {
        const Chunk& token = x[i][c];
        __m256i dots = add_pairs(start_of<S, B, 0>(token), pairs[i]);
        sum[i] = scales.template add_dots<0>(dots, _mm256_load_ps(token.scale), sum[i]);
        if constexpr (B::offset) sum[i] = scales.add_offsets(token, sum[i]);
    }
}

// Chunk c of N tokens times one row's.
template <class S, class B, int N>
inline void add_row_chunk(const uint8_t* p, const Chunk* const* x, int64_t c, __m256* sum) {
    if constexpr (has_nibbles<B>) return add_row_of_nibbles<S, B, N>(p, x, c, sum);
    __m256i u[8];
    GroupScales<B> scales(p);
    B::eights(p, u);
    for (int i = 0; i < N; ++i) sum[i] = add_chunk<S, B>(u, scales, x[i][c], sum[i]);
}

// Bytes, of N tokens. Several take longer over a row, and their activations are most of L1: what comes too early drives them out.
template <int N>
inline int64_t ahead_of(const Weight& w) { return N == 1 ? fetched_ahead(w) : 2048; }

// The joined ends of n rows, added to out.
template <class S, class B, int N>
inline void add_ends(const Weight& w, int64_t first, int64_t n, int64_t whole, int64_t groups, const Chunk* const* x, float* out, int64_t stride) {
    JoinedEnds<B> ends(w, first, n, whole, groups);
    __m256 lanes[N][panel_rows / 2];
    for (int64_t e = 0; e < ends.chunks(n, groups); ++e) {
        __m256 sum[N];
        for (int i = 0; i < N; ++i) sum[i] = _mm256_setzero_ps();
        if (!whole) fetch_later(w.row(first) + e * B::chunk_bytes + ahead_of<N>(w), B::chunk_bytes);
        add_row_chunk<S, B, N>(ends.chunk(e), x, whole, sum);
        for (int i = 0; i < N; ++i) lanes[i][e] = sum[i];
    }
    for (int i = 0; i < N; ++i) add_lanes(lanes[i], n, groups, out + i * stride);
}

// A function of its own: within the one that knows all formats GCC runs out of registers. All that it calls becomes part of it.
template <class S, class B, int N>
__attribute__((noinline, flatten)) void rows_of_eights(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, float* out, int64_t stride) {
    alignas(32) uint8_t copy[B::chunk_bytes];
    const int64_t whole = in.cols / chunk_cols, left = in.cols % chunk_cols, joined = joined_groups<B>(in.cols);
    const int64_t ahead = ahead_of<N>(w);
    const uint8_t* end = w.row(first + n);
    const int64_t jump = in.next ? in.next - end : 0;
    const Chunk* x[N];
    for (int i = 0; i < N; ++i) x[i] = in.quantized(t + i);
    out += t * stride;
    for (int64_t r = 0; r < n; ++r) {
        __m256 sum[N];
        for (int i = 0; i < N; ++i) sum[i] = _mm256_setzero_ps();
        const uint8_t* p = w.row(first + r);
        for (int64_t c = 0; c < whole; ++c, p += B::chunk_bytes) {
            const uint8_t* later = p + ahead;
            fetch_later(later < end ? later : later + jump, B::chunk_bytes);
            add_row_chunk<S, B, N>(p, x, c, sum);
        }
        if (left && !joined) add_row_chunk<S, B, N>(whole_chunk<B>(p, left, copy), x, whole, sum);
        for (int i = 0; i < N; ++i) out[i * stride + r] = S::total(sum[i]);
    }
    if (joined) add_ends<S, B, N>(w, first, n, whole, joined, x, out, stride);
}

}  // namespace

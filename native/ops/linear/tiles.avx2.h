#pragma once

#include "rows.avx2.h"

// Many tokens: a chunk of a panel's rows is unpacked once, and stays in L1 while all tokens pass. A lane is one of a chunk's 8
// groups here too, and a sum takes the operations that rows.avx2.h has for it in the same order: a token's result is the same
// bits whatever the number of tokens. To keep 8 sums where a lane to each row would need one costs a load and a store in some 20
// operations.
// Of 4 bits, a chunk of one row and token is 8 vpmaddubsw, 7 additions of 16 bits, one vpmaddwd and 4 to 5 more: on 4 ports 5
// cycles for 256 products, 1.6 times what products that are widened one by one could do. 2 rows by 4 tokens: 6 loads for 8
// products.
namespace {

constexpr int64_t block_tokens = 128;  // whose sums stay in L2
constexpr int tile_rows_at_once = 2, tile_tokens = 4;

struct TokenSums {
    __m256 rows[panel_rows];
};
thread_local TokenSums token_sums[block_tokens];
constexpr TokenSums no_sums{};

// One row's chunk. Quants of 8 bits are split in two of 4, so that their products too add up in 16 bits through a whole group:
// 12 operations fewer than by magnitudes and signs, and half as many on the two ports that multiply.
template <class S, class B>
struct Unpacked {
    static constexpr bool halved = is_signed<S, B>;
    __m256i u[8 * (1 + halved)];  // low halves, then high ones
    GroupScales<B> scales;

    void fill(const uint8_t* p) {
        scales = GroupScales<B>(p);
        B::eights(p, u);
        if constexpr (halved)
            for (int k = 0; k < 8; ++k) {
                __m256i unsign = _mm256_xor_si256(u[k], _mm256_set1_epi8(-128));
                u[k] = low_nibbles(unsign), u[8 + k] = low_nibbles(_mm256_srli_epi16(unsign, 4));
            }
    }
};

// Vectors From to From + Count of R rows times N tokens.
template <class S, class B, int From, int Count, int R, int N>
inline void add_tile_dots(const Unpacked<S, B>* w, const Chunk* const* x, __m256i (*dot)[N]) {
    constexpr int most = vectors_in_16_bits<B>, run = most < Count ? most : Count;
    for (int from = From; from < From + Count; from += run) {
        __m256i pairs[R][N];
#pragma GCC unroll 8
        for (int k = from; k < from + run; ++k) {
            __m256i q[N];
            for (int i = 0; i < N; ++i) q[i] = in_register(load32(x[i]->q + 32 * k));
            for (int r = 0; r < R; ++r)
                for (int i = 0; i < N; ++i) {
                    __m256i products = _mm256_maddubs_epi16(w[r].u[k], q[i]);
                    pairs[r][i] = k == from ? products : in_register(_mm256_add_epi16(pairs[r][i], products));
                }
        }
        for (int r = 0; r < R; ++r)
            for (int i = 0; i < N; ++i) dot[r][i] = in_register(add_pairs(dot[r][i], pairs[r][i]));
    }
}

// Halved quants, two tokens at a time: each has two sums in registers.
template <class S, class B, int R, int N, int At = 0>
inline void add_halved_dots(const Unpacked<S, B>* w, const Chunk* const* x, __m256i (*dot)[N]) {
    constexpr int M = N - At < 2 ? N - At : 2;
    __m256i low[R][M], high[R][M];
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
        __m256i q[M];
        for (int i = 0; i < M; ++i) q[i] = load32(x[At + i]->q + 32 * k);
        for (int r = 0; r < R; ++r)
            for (int i = 0; i < M; ++i) {
                __m256i less = _mm256_maddubs_epi16(w[r].u[k], q[i]), more = _mm256_maddubs_epi16(w[r].u[8 + k], q[i]);
                low[r][i] = k ? in_register(_mm256_add_epi16(low[r][i], less)) : less;
                high[r][i] = k ? in_register(_mm256_add_epi16(high[r][i], more)) : more;
            }
    }
    for (int r = 0; r < R; ++r)
        for (int i = 0; i < M; ++i) {
            __m256i whole = _mm256_add_epi32(add_pairs(_mm256_setzero_si256(), low[r][i]), _mm256_madd_epi16(high[r][i], _mm256_set1_epi16(16)));
            dot[r][At + i] = in_register(_mm256_add_epi32(whole, _mm256_slli_epi32(load32(x[At + i]->minus32), 7)));
        }
    if constexpr (At + M < N) add_halved_dots<S, B, R, N, At + M>(w, x, dot);
}

// Groups of 32, or the half of those of 16 that Half says. Offsets come with the last half, before a sum goes back to memory.
template <class S, class B, int Half, int R, int N>
inline void add_products(const Unpacked<S, B>* w, const Chunk* const* x, const __m256* const* from, __m256* const* sums) {
    constexpr int count = B::group / 4;
    constexpr bool last_half = Half == 32 / B::group - 1;
    __m256i dot[R][N];
    if constexpr (Unpacked<S, B>::halved) {
        add_halved_dots<S, B, R, N>(w, x, dot);
    } else {
        for (int i = 0; i < N; ++i)
            for (int r = 0; r < R; ++r) dot[r][i] = start_of<S, B, Half>(*x[i]);
        add_tile_dots<S, B, count * Half, count, R, N>(w, x, dot);
    }
    for (int i = 0; i < N; ++i) {
        __m256 scale = _mm256_load_ps(x[i]->scale);
        for (int r = 0; r < R; ++r) {
            __m256 sum = w[r].scales.template add_dots<Half>(dot[r][i], scale, from[i][r]);
            sums[i][r] = last_half && B::offset ? w[r].scales.add_offsets(*x[i], sum) : sum;
        }
    }
}

// sums = from + the products; sums may be from.
template <class S, class B, int R, int N>
inline void add_tile(const Unpacked<S, B>* w, const Chunk* const* x, const __m256* const* from, __m256* const* sums) {
    add_products<S, B, 0, R, N>(w, x, from, sums);
    if constexpr (B::group == 16) add_products<S, B, 1, R, N>(w, x, sums, sums);
}

// Rows that are computed for n.
inline int64_t padded_rows(int64_t n, int step) { return (n + step - 1) / step * step; }

// The totals of a panel's rows, lanes added as Avx2::total does, four rows at once.
inline void put_totals(const __m256* sums, int64_t n, float* out) {
    for (int64_t r = 0; r < n; r += 4) {
        __m128 s[4];
        for (int j = 0; j < 4; ++j) s[j] = _mm_add_ps(_mm256_castps256_ps128(sums[r + j]), _mm256_extractf128_ps(sums[r + j], 1));
        __m128 a = _mm_add_ps(_mm_movelh_ps(s[0], s[1]), _mm_movehl_ps(s[1], s[0]));
        __m128 b = _mm_add_ps(_mm_movelh_ps(s[2], s[3]), _mm_movehl_ps(s[3], s[2]));
        __m128 total = _mm_add_ps(_mm_shuffle_ps(a, b, 0x88), _mm_shuffle_ps(a, b, 0xdd));
        if (r + 4 <= n) _mm_storeu_ps(out + r, total);
        else
            for (int64_t j = 0; r + j < n; ++j) out[r + j] = total[j];
    }
}

// Tokens in runs of about the same length, at most block_tokens.
template <class Body>
inline void by_blocks(int64_t tokens, const Body& body) {
    int64_t blocks = (tokens + block_tokens - 1) / block_tokens;
    for (int64_t i = 0; i < blocks; ++i) body(i * tokens / blocks, (i + 1) * tokens / blocks);
}

// Into L1.
inline void fetch_now(const void* p, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch(static_cast<const char*>(p) + at);
}

// What is fetched while a block of a panel is multiplied, a share with each few tokens: the rows' next block, and what memory
// has behind the panel.
struct Fetching {
    const Weight& w;
    int64_t n;
    const uint8_t* later;  // of the first row; bytes of each
    int64_t bytes;
    const uint8_t* next;   // from share `from` to `to` of n rows' bytes
    int64_t from, to;

    void fetch(int64_t begin, int64_t end, int64_t all) const {
        for (int64_t r = begin * n / all; r < end * n / all; ++r)
            for (int64_t at = 0; at < bytes + 63; at += 64) __builtin_prefetch(later + r * w.row_bytes + (at < bytes ? at : bytes - 1));
        int64_t size = to - from;
        for (int64_t at = (from + begin * size / all) / 64 * 64; at < from + end * size / all; at += 64) __builtin_prefetch(next + at, 0, 2);
    }
};

// `columns`: that are left from chunk c on.
template <class S, class B>
void unpack_rows(const Weight& w, int64_t first, int64_t n, int64_t c, int64_t columns, Unpacked<S, B>* out) {
    alignas(32) uint8_t copy[B::chunk_bytes];
    for (int64_t r = 0; r < padded_rows(n, tile_rows_at_once); ++r)
        out[r].fill(whole_chunk<B>(w.row(first + (r < n ? r : n - 1)) + c * B::chunk_bytes, columns, copy));
}

// Chunk c of N tokens from t on, while the next ones are fetched.
template <int N>
inline void chunks_of_tokens(const Input& in, int64_t t, int64_t end, int64_t c, const Chunk** x) {
    for (int i = 0; i < N; ++i) {
        x[i] = in.quantized(t + i) + c;
        if (t + N + i < end) fetch_now(in.quantized(t + N + i) + c, sizeof(Chunk));
    }
}

// The joined ends of n rows, added to out.
template <class S, class B>
void add_ends_of_tokens(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t begin, int64_t end, float* out, int64_t stride) {
    const int64_t whole = in.cols / chunk_cols, groups = joined_groups<B>(in.cols);
    JoinedEnds<B> ends(w, first, n, whole, groups);
    const int64_t count = ends.chunks(n, groups);
    Unpacked<S, B> rows[panel_rows / 2];
    for (int64_t e = 0; e < count; ++e) rows[e].fill(ends.chunk(e));
    by_runs<tile_tokens>(end - begin, [&]<int N>(int64_t t) {
        const Chunk* x[N];
        chunks_of_tokens<N>(in, begin + t, end, whole, x);
        __m256 lanes[N][panel_rows / 2];
        for (int64_t e = 0; e < count; e += tile_rows_at_once) {
            const __m256* from[N];
            __m256* sums[N];
            for (int i = 0; i < N; ++i) from[i] = no_sums.rows, sums[i] = lanes[i] + e;
            add_tile<S, B, tile_rows_at_once, N>(rows + e, x, from, sums);
        }
        for (int i = 0; i < N; ++i) add_lanes(lanes[i], n, groups, out + (begin + t + i) * stride);
    });
}

template <class S, class B>
__attribute__((noinline, flatten)) void block_of_tokens(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t begin, int64_t end, float* out, int64_t stride) {
    Unpacked<S, B> panel[panel_rows];
    TokenSums* const kept = token_sums;  // to look it up once: finding a thread's own memory is a call
    const uint8_t* next = in.next ? in.next : w.row(first + n);
    const bool joined = joined_groups<B>(in.cols);
    const int64_t last = in.chunk_count() - 1 - joined;
    for (int64_t t = begin; last < 0 && t < end; ++t) std::memset(out + t * stride, 0, n * sizeof(float));
    for (int64_t c = 0; c <= last; ++c) {
        Fetching fetching{w, n, w.row(first) + (c < last ? c + 1 : 0) * B::chunk_bytes, B::chunk_bytes, next, n * c * B::chunk_bytes, n * (c + 1) * B::chunk_bytes};
        unpack_rows<S, B>(w, first, n, c, in.cols - c * chunk_cols, panel);
        by_runs<tile_tokens>(end - begin, [&]<int N>(int64_t t) {
            fetching.fetch(t, t + N, end - begin);
            const Chunk* x[N];
            const __m256* from[N];
            __m256* sums[N];
            chunks_of_tokens<N>(in, begin + t, end, c, x);
            for (int64_t r = 0; r < n; r += tile_rows_at_once) {
                for (int i = 0; i < N; ++i) sums[i] = kept[t + i].rows + r, from[i] = c ? sums[i] : no_sums.rows;
                add_tile<S, B, tile_rows_at_once, N>(panel + r, x, from, sums);
            }
            if (c == last)
                for (int i = 0; i < N; ++i) put_totals(kept[t + i].rows, n, out + (begin + t + i) * stride);
        });
    }
    if (joined) add_ends_of_tokens<S, B>(w, first, n, in, begin, end, out, stride);
}

}  // namespace

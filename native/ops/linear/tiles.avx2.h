#pragma once

#include "rows.avx2.h"

// Many tokens: a panel's rows are unpacked once, and lie in L1 while all tokens pass, two chunks of columns at a time. A lane
// is one of a chunk's 8 groups here too, and a sum takes the operations that rows.avx2.h has for it in the same order: a token's
// result is the same bits whatever the number of tokens.
// Of 4 bits, a chunk of one row and token is 8 vpmaddubsw, 7 additions of 16 bits, one vpmaddwd and 4 to 5 more: 20 operations on
// 4 ports, so 5 cycles for 256 products, 1.6 times what products that are widened one by one could do. 4 rows by 2 tokens: 6 loads
// for 8 products.
namespace {

constexpr int block_chunks = 2, block_tokens = 128;  // 16 KB of quants in L1, 128 KB of sums in L2

struct TokenSums {
    __m256 rows[panel_rows];
};
thread_local TokenSums token_sums[block_tokens];

// One row's chunk.
template <class S, class B>
struct Unpacked {
    static constexpr bool has_sign = is_signed<S, B>;
    __m256i u[8 * (1 + has_sign)];  // and their magnitudes behind them
    GroupScales<B> scales;

    void fill(const uint8_t* p) {
        scales = GroupScales<B>(p);
        B::eights(p, u);
        if constexpr (has_sign)
            for (int k = 0; k < 8; ++k) u[8 + k] = _mm256_abs_epi8(u[k]);
    }
    __m256i products(int k, __m256i q) const {
        if constexpr (has_sign) return _mm256_maddubs_epi16(u[8 + k], _mm256_sign_epi8(q, u[k]));
        else return _mm256_maddubs_epi16(u[k], q);
    }
};

// Vectors From to From + Count of R rows times N tokens.
template <class S, class B, int From, int Count, int R, int N>
inline void add_tile_dots(const Unpacked<S, B>* w, const Chunk* const* x, __m256i (*dot)[N]) {
    constexpr int most = vectors_in_16_bits<B>, run = most < Count ? most : Count;
    for (int from = From; from < From + Count; from += run) {
        __m256i pairs[R][N];
        for (int k = from; k < from + run; ++k)
            for (int i = 0; i < N; ++i) {
                __m256i q = load32(x[i]->q + 32 * k);
                for (int r = 0; r < R; ++r) {
                    __m256i products = w[r].products(k, q);
                    pairs[r][i] = k == from ? products : _mm256_add_epi16(pairs[r][i], products);
                }
            }
        for (int r = 0; r < R; ++r)
            for (int i = 0; i < N; ++i) dot[r][i] = add_pairs(dot[r][i], pairs[r][i]);
    }
}

// Groups of 32, or the half of those of 16 that Half says.
template <class S, class B, int Half, int R, int N>
inline void add_products(const Unpacked<S, B>* w, const Chunk* const* x, __m256* const* sums) {
    constexpr int count = B::group / 4;
    __m256i dot[R][N];
    for (int i = 0; i < N; ++i)
        for (int r = 0; r < R; ++r) dot[r][i] = start_of<S, B, Half>(*x[i]);
    add_tile_dots<S, B, count * Half, count, R, N>(w, x, dot);
    for (int i = 0; i < N; ++i) {
        __m256 scale = alternate<0>(x[i]->scale);
        for (int r = 0; r < R; ++r) sums[i][r] = w[r].scales.template add_dots<Half>(dot[r][i], scale, sums[i][r]);
    }
}

template <class S, class B, int R, int N>
inline void add_tile(const Unpacked<S, B>* w, const Chunk* const* x, __m256* const* sums) {
    add_products<S, B, 0, R, N>(w, x, sums);
    if constexpr (B::group == 16) add_products<S, B, 1, R, N>(w, x, sums);
    if constexpr (B::offset)
        for (int i = 0; i < N; ++i)
            for (int r = 0; r < R; ++r) sums[i][r] = w[r].scales.add_offsets(*x[i], sums[i][r]);
}

// Rows that are computed for n: as many as tiles have.
constexpr int tile_step = 4;
inline int64_t padded_rows(int64_t n) { return (n + tile_step - 1) / tile_step * tile_step; }

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

template <class S, class B>
void unpack_block(const Weight& w, int64_t first, int64_t n, int64_t c, int64_t chunks, int64_t cols, Unpacked<S, B>* out) {
    alignas(32) uint8_t copy[B::chunk_bytes];
    for (int64_t r = 0; r < padded_rows(n); ++r)
        for (int64_t j = 0; j < chunks; ++j) {
            const uint8_t* p = w.row(first + (r < n ? r : n - 1)) + (c + j) * B::chunk_bytes;
            out[j * panel_rows + r].fill(whole_chunk<B>(p, cols - (c + j) * chunk_cols, copy));
        }
}

template <class S, class B>
void block_of_tokens(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t begin, int64_t end, float* out, int64_t stride) {
    Unpacked<S, B> panel[block_chunks * panel_rows];
    const uint8_t* next = in.next ? in.next : w.row(first + n);
    for (int64_t t = 0; t < end - begin; ++t)
        for (int64_t r = 0; r < padded_rows(n); ++r) token_sums[t].rows[r] = _mm256_setzero_ps();
    for (int64_t c = 0; c < in.chunk_count(); c += block_chunks) {
        int64_t chunks = in.chunk_count() - c < block_chunks ? in.chunk_count() - c : block_chunks;
        int64_t after = (c + chunks) * B::chunk_bytes < w.row_bytes ? (c + chunks) * B::chunk_bytes : 0;
        Fetching fetching{w, n, w.row(first) + after, B::chunk_bytes, next, n * c * B::chunk_bytes, n * (c + chunks) * B::chunk_bytes};
        unpack_block<S, B>(w, first, n, c, chunks, in.cols, panel);
        by_tokens<2>(end - begin, [&]<int N>(int64_t t) {
            fetching.fetch(t, t + N, end - begin);
            const Chunk* x[N];
            __m256* sums[N];
            for (int64_t j = 0; j < chunks; ++j) {
                for (int i = 0; i < N; ++i) x[i] = in.quantized(begin + t + i) + c + j;
                for (int64_t r = 0; r < n; r += tile_step) {
                    for (int i = 0; i < N; ++i) sums[i] = token_sums[t + i].rows + r;
                    add_tile<S, B, tile_step, N>(panel + j * panel_rows + r, x, sums);
                }
            }
        });
    }
    for (int64_t t = begin; t < end; ++t) put_totals(token_sums[t - begin].rows, n, out + t * stride);
}

}  // namespace

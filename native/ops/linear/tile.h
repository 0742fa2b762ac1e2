#pragma once

#include "blocks.h"
#include "runs.h"

// Matrix tiles, written once over `S`, an instruction set's vectors (see simd.*.h):
//   S::lanes float32 or int32 numbers; S::Floats, S::Ints; S::panels vectors of rows and S::tokens tokens a tile;
//   S::place(c) is where a chunk's q holds column c: 4 columns from a multiple of 4 on lie side by side.
// A lane is a row of W: the panel's rows are interleaved four bytes (or one float) each, so that one vector times one
// broadcast of x serves `lanes` rows, and scales need one multiply and one fma for a whole group.
namespace {

template <class S>
constexpr int tile_rows = S::lanes * S::panels;

// rows_[r][k] -> out[k][r] for k < count, in units of 32 bits.
template <class S>
inline void interleave(const Word* rows, int64_t stride, int64_t count, Word* out) {
    constexpr int R = tile_rows<S>;
    int64_t whole = count / S::lanes * S::lanes;
    for (int64_t k = 0; k < whole; k += S::lanes)
        for (int r = 0; r < R; r += S::lanes) S::transpose(rows + r * stride + k, stride, out + k * R + r, R);
    for (int64_t k = whole; k < count; ++k)
        for (int r = 0; r < R; ++r) out[k * R + r] = rows[r * stride + k];
}

template <class S>
struct BlockTile {
    alignas(64) uint8_t u[chunk_cols * tile_rows<S>];
    alignas(64) float a[16 * tile_rows<S>], b[16 * tile_rows<S>];
};

// NEON multiplies signed by signed bytes, AVX2 saturates on large unsigned ones: there u - zero is stored and the
// correction for `zero` falls away.
template <class S, class B>
constexpr bool is_signed = !B::offset && B::zero >= S::signed_from;

template <class S, class B>
inline void unpack_row(const uint8_t* p, uint8_t* u) {
    B::quants(p, u);
    if constexpr (is_signed<S, B>)
        for (int i = 0; i < chunk_cols; ++i) u[i] = static_cast<uint8_t>(u[i] - B::zero);
}

template <class S, class B>
inline void unpack_quants(const uint8_t* const* rows, BlockTile<S>& tile) {
    constexpr int R = tile_rows<S>;
    if constexpr (requires { B::across(rows, tile.u); }) {
        for (int r = 0; r < R; r += S::lanes) B::across(rows + r, tile.u + 4 * r);
    } else {
        alignas(64) uint8_t u[R][chunk_cols];
        for (int r = 0; r < R; ++r) unpack_row<S, B>(rows[r], u[r]);
        interleave<S>(reinterpret_cast<Word*>(u), chunk_cols / 4, chunk_cols / 4, reinterpret_cast<Word*>(tile.u));
    }
}

template <class S, class B>
inline void unpack_scales(const uint8_t* const* rows, BlockTile<S>& tile) {
    constexpr int R = tile_rows<S>, G = chunk_cols / B::group;
    alignas(64) float a[R][16], b[R][16];
    for (int r = 0; r < R; ++r) B::scales(rows[r], a[r], b[r]);
    interleave<S>(reinterpret_cast<Word*>(a), 16, G, reinterpret_cast<Word*>(tile.a));
    if constexpr (B::offset) interleave<S>(reinterpret_cast<Word*>(b), 16, G, reinterpret_cast<Word*>(tile.b));
}

// rows: where each of tile_rows rows has its chunk.
template <class S, class B>
inline void unpack(const uint8_t* const* rows, int64_t columns_left, BlockTile<S>& tile) {
    constexpr int R = tile_rows<S>;
    if (columns_left >= chunk_cols) {
        unpack_quants<S, B>(rows, tile);
        unpack_scales<S, B>(rows, tile);
        return;
    }
    alignas(64) uint8_t copies[R][B::chunk_bytes];
    const uint8_t* whole[R];
    for (int r = 0; r < R; ++r) whole[r] = whole_chunk<B>(rows[r], columns_left, copies[r]);
    unpack_quants<S, B>(whole, tile);
    unpack_scales<S, B>(whole, tile);
}

// One group of a panel's quants times N tokens' columns.
template <class S, class B, int N>
inline void add_dots(const uint8_t* u, const int8_t* const* columns, typename S::Ints (*dot)[S::panels]) {
    constexpr int P = S::panels, L = S::lanes;
    for (int k = 0; k < B::group; k += 4) {
        typename S::Ints w[P];
        for (int p = 0; p < P; ++p) w[p] = S::load_bytes(u + (k * P + 4 * p) * L);
        for (int i = 0; i < N; ++i) {
            typename S::Ints q = S::broadcast4(columns[i] + S::place(k));
            for (int p = 0; p < P; ++p) dot[i][p] = S::template dot<is_signed<S, B>>(dot[i][p], w[p], q);
        }
    }
}

// N tokens against one chunk of a panel. Per group and vector of rows: group / 4 dot products, one conversion, one
// multiply, one fma (two with an offset).
template <class S, class B, int N>
inline void block_tile(const BlockTile<S>& tile, int groups, const Chunk* const* x, float* const* y, int64_t n, bool first) {
    constexpr int P = S::panels, L = S::lanes, R = L * P;
    constexpr bool correct = !B::offset && !is_signed<S, B>;
    typename S::Floats sum[N][P];
    for (int i = 0; i < N; ++i)
        for (int p = 0; p < P; ++p) sum[i][p] = first ? S::zero() : S::load_part(y[i] + p * L, n - p * L);
    alignas(64) int32_t start[N][16];
    if constexpr (correct)
        for (int i = 0; i < N; ++i)
            for (int g = 0; g < chunk_cols / B::group; ++g) start[i][g] = B::zero * (B::group == 32 ? x[i]->minus32 : x[i]->minus16)[g];
    for (int g = 0; g < groups; ++g) {
        typename S::Ints dot[N][P];
        const int8_t* columns[N];
        for (int i = 0; i < N; ++i) {
            columns[i] = x[i]->q + S::place(g * B::group);
            for (int p = 0; p < P; ++p) dot[i][p] = correct ? S::broadcast(start[i][g]) : S::broadcast(0);
        }
        const uint8_t* u = tile.u + g * B::group * R;
        add_dots<S, B, N>(u, columns, dot);
        for (int p = 0; p < P; ++p) {
            typename S::Floats a = S::load(tile.a + g * R + p * L), b;
            if constexpr (B::offset) b = S::load(tile.b + g * R + p * L);
            for (int i = 0; i < N; ++i) {
                sum[i][p] = S::fma(S::mul(S::to_float(dot[i][p]), a), S::broadcast(x[i]->scale[g * B::group / 16]), sum[i][p]);
                if constexpr (B::offset)
                    sum[i][p] = S::fma(b, S::broadcast((B::group == 32 ? x[i]->sum32 : x[i]->sum16)[g]), sum[i][p]);
            }
        }
    }
    for (int i = 0; i < N; ++i)
        for (int p = 0; p < P; ++p) S::store_part(y[i] + p * L, sum[i][p], n - p * L);
}

// Tokens t .. t + n of chunk c on their way into L1: they lie a row of chunks apart, which no hardware guesses.
inline void fetch(const Input& in, int64_t t, int64_t n, int64_t c) {
    for (int64_t i = t; i < t + n && i < in.T; ++i)
        for (size_t line = 0; line < sizeof(Chunk); line += 64) __builtin_prefetch(reinterpret_cast<const char*>(in.quantized(i) + c) + line);
}

// Of the panel's rows the share that belongs to tokens t .. t + n, at `p` of the first row: all are on their way when the
// last token is done.
template <int R>
inline void fetch_rows(const Weight& w, const uint8_t* p, int64_t bytes, const Input& in, int64_t t, int64_t n) {
    for (int64_t r = t * R / in.T; r < (t + n) * R / in.T; ++r)
        for (int64_t at = 0; at < bytes + 63; at += 64) __builtin_prefetch(p + r * w.row_bytes + (at < bytes ? at : bytes - 1));
}

// Of `bytes` at `next`, what comes after this panel, share `from` to `to` of `all` on its way into L2: in the order in which
// it lies, which panels of rows side by side hide from the hardware.
inline void fetch_ahead(const uint8_t* next, int64_t bytes, int64_t from, int64_t to, int64_t all) {
    for (int64_t at = from * bytes / all / 64 * 64; at < to * bytes / all; at += 64) __builtin_prefetch(next + at, 0, 2);
}

// Rows first .. first + n (n <= tile_rows) for all tokens: each chunk of the panel is unpacked once and stays in L1.
template <class S, class B>
void block_panel(const Weight& w, int64_t first, int64_t n, const Input& in, float* out, int64_t stride) {
    constexpr int R = tile_rows<S>;
    BlockTile<S> tile;
    const uint8_t* next = in.next ? in.next : w.row(first + n);
    for (int64_t c = 0; c < in.chunk_count(); ++c) {
        const uint8_t* rows[R];
        for (int r = 0; r < R; ++r) rows[r] = w.row(first + (r < n ? r : n - 1)) + c * B::chunk_bytes;
        int64_t left = in.cols - c * chunk_cols;
        unpack<S, B>(rows, left, tile);
        const uint8_t* later = c + 1 < in.chunk_count() ? rows[0] + B::chunk_bytes : w.row(first + n);
        by_runs<S::tokens>(in.T, [&]<int N>(int64_t t) {
            const Chunk* x[N];
            float* y[N];
            fetch(in, t + N, N, c);
            fetch_rows<R>(w, later, B::chunk_bytes, in, t, N);
            fetch_ahead(next, n * w.row_bytes, c * in.T + t, c * in.T + t + N, in.chunk_count() * in.T);
            for (int i = 0; i < N; ++i) x[i] = in.quantized(t + i) + c, y[i] = out + (t + i) * stride;
            block_tile<S, B, N>(tile, groups_of<B>(left), x, y, n, c == 0);
        });
    }
}

// Float formats: the same with one float per lane, in steps of 128 columns, the side of an FP8 scale block.
constexpr int float_step = 128;

inline float block_scale(const Weight& w, int64_t row, int64_t column) {
    return w.scales ? w.scales[(w.first_row + row) / 128 * w.scale_stride + column / 128] : 1.0f;
}

template <class S, class F>
inline void widen_row(const uint8_t* p, int64_t n, float scale, float* out) {
    int64_t i = 0;
    for (; i + S::lanes <= n; i += S::lanes) S::store(out + i, F::template several<S>(p + i * F::bytes));
    for (; i < n; ++i) out[i] = F::one(p + i * F::bytes);
    if constexpr (F::scaled)
        for (i = 0; i < n; ++i) out[i] *= scale;
}

template <class S, int N>
inline void float_tile(const float* tile, int64_t columns, const float* const* x, float* const* y, int64_t n, bool first) {
    constexpr int P = S::panels, L = S::lanes, R = L * P;
    typename S::Floats sum[N][P];
    for (int i = 0; i < N; ++i)
        for (int p = 0; p < P; ++p) sum[i][p] = S::zero();
    for (int64_t k = 0; k < columns; ++k) {
        typename S::Floats w[P];
        for (int p = 0; p < P; ++p) w[p] = S::load(tile + k * R + p * L);
        for (int i = 0; i < N; ++i) {
            typename S::Floats v = S::broadcast(x[i][k]);
            for (int p = 0; p < P; ++p) sum[i][p] = S::fma(w[p], v, sum[i][p]);
        }
    }
    for (int i = 0; i < N; ++i)
        for (int p = 0; p < P; ++p) {
            if (!first) sum[i][p] = S::add(sum[i][p], S::load_part(y[i] + p * L, n - p * L));
            S::store_part(y[i] + p * L, sum[i][p], n - p * L);
        }
}

template <class S, class F>
void float_panel(const Weight& w, int64_t first, int64_t n, const Input& in, float* out, int64_t stride) {
    constexpr int R = tile_rows<S>;
    alignas(64) float wide[R][float_step], tile[R * float_step];
    for (int64_t c = 0; c < in.cols; c += float_step) {
        int64_t columns = in.cols - c < float_step ? in.cols - c : float_step;
        for (int64_t r = 0; r < R; ++r) {
            int64_t row = first + (r < n ? r : n - 1);
            widen_row<S, F>(w.row(row) + c * F::bytes, columns, block_scale(w, row, c), wide[r]);
        }
        interleave<S>(reinterpret_cast<Word*>(wide), float_step, columns, reinterpret_cast<Word*>(tile));
        by_runs<S::float_tokens>(in.T, [&]<int N>(int64_t t) {
            const float* x[N];
            float* y[N];
            for (int i = 0; i < N; ++i) x[i] = in.floats(t + i) + c, y[i] = out + (t + i) * stride;
            float_tile<S, N>(tile, columns, x, y, n, c == 0);
        });
    }
}

// A panel of more rows than a tile has: calls body(first of them, how many).
template <class S, class Body>
inline void by_tiles(int64_t n, const Body& body) {
    for (int64_t r = 0; r < n; r += tile_rows<S>) body(r, n - r < tile_rows<S> ? n - r : tile_rows<S>);
}

}  // namespace

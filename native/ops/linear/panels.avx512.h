#pragma once

#include <algorithm>

#include "blocks.avx512.h"
#include "tile.h"

// Block formats in panels (arrange.h): a lane is a row, whose columns come four at a time. So weights are multiplied as they
// come from memory, front to back, for one token as for many, and each sum is taken in the same order however many there are.
namespace {

constexpr int panel_line = 4 * panel_rows, panel_vectors = panel_rows / 16;

// What tiles read of a chunk: scales and offsets, [group][row]; and where a quant's bits lie apart, the quants as bytes, [columns / 4][row][4].
struct PanelChunk {
    alignas(64) float a[16 * panel_rows], b[8 * panel_rows];
    alignas(64) uint8_t u[chunk_cols * panel_rows];

    void put(int group, int r, __m512 scale) { _mm512_store_ps(a + panel_rows * group + r, scale); }
    void put(int group, int r, __m512 scale, __m512 offset) {
        put(group, r, scale);
        _mm512_store_ps(b + panel_rows * group + r, offset);
    }
};

inline __m512i two_bits(__m512i bytes, int from) { return _mm512_and_si512(_mm512_srli_epi16(bytes, from), _mm512_set1_epi8(3)); }
// Of each row's word: its halves as binary16 numbers, or one of its bytes.
inline __m512 low_half(__m512i words) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words)); }
inline __m512 high_half(__m512i words) { return low_half(_mm512_srli_epi32(words, 16)); }
inline __m512 byte_of(__m512i words, int i) { return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(words, 8 * i), _mm512_set1_epi32(255))); }
inline __m512 signed_byte_of(__m512i words, int i) { return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(words, 24 - 8 * i), 24)); }

// take() fills a chunk's a and b, and u where it is read; quants<g % 2>() gives columns 4 k to 4 k + 3 of group g (of 32)
// for rows r to r + 15.
template <Format> struct Panels;

// Blocks of 32 columns whose first bytes are a scale (binary16), or that and an offset.
template <int Bytes, int Zero, bool Offset = false>
struct PanelBlocks : Shape32<Bytes, Zero, Offset> {
    static constexpr int head = Offset ? 4 : 2;

    static void take(const uint8_t* p, int g, PanelChunk& chunk) {
        p += panel_rows * Bytes * g;
        for (int r = 0; r < panel_rows; r += 16) {
            if constexpr (Offset) chunk.put(g, r, low_half(load64(p + 4 * r)), high_half(load64(p + 4 * r)));
            else chunk.put(g, r, _mm512_cvtph_ps(load32(p + 2 * r)));
        }
    }
    static __m512i word(const uint8_t* p, int g, int k, int r) { return load64(p + panel_rows * (Bytes * g + head) + panel_line * k + 4 * r); }
    static __m512i nibbles(const uint8_t* p, int g, int k, int r) {
        return k < 4 ? low_nibbles(word(p, g, k, r)) : high_nibbles(word(p, g, k - 4, r));
    }
};

template <> struct Panels<Format::Q4_0_PANELS> : PanelBlocks<18, 8> {
    template <int> static __m512i quants(const uint8_t* p, const PanelChunk&, int g, int k, int r) { return nibbles(p, g, k, r); }
};
template <> struct Panels<Format::Q4_1_PANELS> : PanelBlocks<20, 0, true> {
    template <int> static __m512i quants(const uint8_t* p, const PanelChunk&, int g, int k, int r) { return nibbles(p, g, k, r); }
};
template <> struct Panels<Format::Q8_0_PANELS> : PanelBlocks<34, 128> {
    template <int> static __m512i quants(const uint8_t* p, const PanelChunk&, int g, int k, int r) {
        return _mm512_xor_si512(word(p, g, k, r), _mm512_set1_epi8(-128));
    }
};

// Words: d and dmin; 8 scales and 8 minima of 6 bits; then for each two groups eight of nibbles.
template <> struct Panels<Format::Q4_K_PANELS> : Shape256<144, 32, 0, true> {
    static void take(const uint8_t* p, int first, PanelChunk& chunk) {
        if (first) return;
        const __m512i six = _mm512_set1_epi8(0x3f), pair = _mm512_set1_epi8(0x30);
        for (int r = 0; r < panel_rows; r += 16, p += 64) {
            __m512i units = load64(p), first = load64(p + panel_line), second = load64(p + 2 * panel_line), third = load64(p + 3 * panel_line);
            __m512i scales[2] = {_mm512_and_si512(first, six), _mm512_or_si512(low_nibbles(third), _mm512_and_si512(_mm512_srli_epi32(first, 2), pair))};
            __m512i minima[2] = {_mm512_and_si512(second, six), _mm512_or_si512(high_nibbles(third), _mm512_and_si512(_mm512_srli_epi32(second, 2), pair))};
            __m512 d = low_half(units), minus = _mm512_sub_ps(_mm512_setzero_ps(), high_half(units));
            for (int g = 0; g < 8; ++g)
                chunk.put(g, r, _mm512_mul_ps(d, byte_of(scales[g / 4], g % 4)), _mm512_mul_ps(minus, byte_of(minima[g / 4], g % 4)));
        }
    }
    template <int Odd> static __m512i quants(const uint8_t* p, const PanelChunk&, int g, int k, int r) {
        __m512i both = load64(p + panel_line * (4 + g / 2 * 8 + k) + 4 * r);
        return Odd ? high_nibbles(both) : low_nibbles(both);
    }
};

// d of each row; then words: 32 of nibbles, 16 of pairs, 4 of scales.
template <> struct Panels<Format::Q6_K_PANELS> : Shape256<210, 16, 32> {
    static void take(const uint8_t* p, int first, PanelChunk& chunk) {
        if (first) return;
        const uint8_t *lines = p + 2 * panel_rows, *pairs = lines + 32 * panel_line, *scales = pairs + 16 * panel_line;
        for (int r = 0; r < panel_rows; r += 16) {
            __m512 d = _mm512_cvtph_ps(load32(p + 2 * r));
            for (int g = 0; g < 16; ++g) chunk.put(g, r, _mm512_mul_ps(d, signed_byte_of(load64(scales + panel_line * (g / 4) + 4 * r), g % 4)));
            for (int half = 0; half < 2; ++half)
                for (int k = 0; k < 8; ++k) put_quants(lines + panel_line * 16 * half, pairs + panel_line * 8 * half, half, k, r, chunk);
        }
    }
    template <int> static __m512i quants(const uint8_t*, const PanelChunk& chunk, int g, int k, int r) { return load64(chunk.u + panel_line * (8 * g + k) + 4 * r); }

private:
    // Word k of the four groups of half a chunk.
    static void put_quants(const uint8_t* lines, const uint8_t* pairs, int half, int k, int r, PanelChunk& chunk) {
        __m512i high = load64(pairs + panel_line * k + 4 * r);
        for (int g = 0; g < 4; ++g) {
            __m512i both = load64(lines + panel_line * (g % 2 * 8 + k) + 4 * r), low = g < 2 ? low_nibbles(both) : high_nibbles(both);
            _mm512_store_si512(chunk.u + panel_line * (8 * (4 * half + g) + k) + 4 * r, _mm512_or_si512(low, _mm512_slli_epi16(two_bits(high, 2 * g), 4)));
        }
    }
};

// The next weights on their way into L2, some lines before each two groups of a tile: for up to `wanted` bytes from `from` on.
struct Ahead {
    const Later& later;
    const uint8_t* from;
    int64_t wanted = 0, asked = 0;

    template <int Lines>
    void fetch() {
        if (asked + 64 * Lines <= wanted)
            for (int line = 0; line < Lines; ++line, asked += 64) later.fetch(from + asked);
        else
            for (; asked < wanted; asked += 64) later.fetch(from + asked);
    }
};

// What dot products begin with, so that quants count from F::zero: for each of the scales' groups.
template <class F, int N>
inline void first_dots(const Chunk* const* x, int32_t (*start)[16]) {
    if constexpr (F::offset) return;
    for (int i = 0; i < N; ++i) {
        __m512i minus = F::group == 16 ? _mm512_load_si512(x[i]->minus16) : _mm512_castsi256_si512(_mm256_load_si256(reinterpret_cast<const __m256i*>(x[i]->minus32)));
        _mm512_store_si512(start[i], _mm512_mullo_epi32(minus, _mm512_set1_epi32(F::zero)));
    }
}

// The columns of group g that share scale s: its words from `First` on.
template <class F, int N, int First, int Odd>
INLINE inline void add_columns(const uint8_t* p, const PanelChunk& chunk, int g, int s, const Chunk* const* x, const int32_t (*start)[16],
                               __m512 (*sum)[panel_vectors]) {
    __m512i dot[N][panel_vectors];
    for (int i = 0; i < N; ++i)
        for (int v = 0; v < panel_vectors; ++v) dot[i][v] = F::offset ? _mm512_setzero_si512() : _mm512_set1_epi32(start[i][s]);
#pragma GCC unroll 8
    for (int step = 0; step < F::group / 4; ++step) {
        const int k = F::group == 32 ? step % 2 * 4 + step / 2 : First + step;  // the two halves of a byte one after the other
        __m512i u[panel_vectors];
        for (int v = 0; v < panel_vectors; ++v) u[v] = F::template quants<Odd>(p, chunk, g, k, 16 * v);
        for (int i = 0; i < N; ++i) {
            __m512i q = _mm512_set1_epi32(load<int32_t>(reinterpret_cast<const uint8_t*>(x[i]->q + column_place(4 * k) + 8 * g)));
            for (int v = 0; v < panel_vectors; ++v) dot[i][v] = _mm512_dpbusd_epi32(dot[i][v], u[v], q);
        }
    }
    for (int v = 0; v < panel_vectors; ++v) {
        __m512 a = _mm512_load_ps(chunk.a + panel_rows * s + 16 * v), b;
        if constexpr (F::offset) b = _mm512_load_ps(chunk.b + panel_rows * s + 16 * v);
        for (int i = 0; i < N; ++i) {
            sum[i][v] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(dot[i][v]), a), _mm512_set1_ps(x[i]->scale[2 * g]), sum[i][v]);
            if constexpr (F::offset) sum[i][v] = _mm512_fmadd_ps(b, _mm512_set1_ps(x[i]->sum32[g]), sum[i][v]);
        }
    }
}

template <class F, int N, int Odd>
INLINE inline void add_group(const uint8_t* p, PanelChunk& chunk, bool fresh, int g, const Chunk* const* x, const int32_t (*start)[16],
                             __m512 (*sum)[panel_vectors]) {
    if constexpr (F::columns == 32 || !Odd)
        if (fresh) F::take(p, g, chunk);
    if constexpr (F::group == 32) {
        add_columns<F, N, 0, Odd>(p, chunk, g, g, x, start, sum);
    } else {
        add_columns<F, N, 0, Odd>(p, chunk, g, 2 * g, x, start, sum);
        add_columns<F, N, 4, Odd>(p, chunk, g, 2 * g + 1, x, start, sum);
    }
}

// N tokens against a chunk of a panel; fresh: they are the first, and take what the others find in `chunk`.
template <class F, int N>
inline void panel_tile(const uint8_t* p, PanelChunk& chunk, bool fresh, int groups, const Chunk* const* x, float* const* y, bool first, Ahead& ahead) {
    constexpr int lines = (panel_rows * F::chunk_bytes / 4 + 63) / 64;
    __m512 sum[N][panel_vectors];
    alignas(64) int32_t start[N][16];
    first_dots<F, N>(x, start);
    for (int i = 0; i < N; ++i)
        for (int v = 0; v < panel_vectors; ++v) sum[i][v] = first ? _mm512_setzero_ps() : _mm512_loadu_ps(y[i] + 16 * v);
    for (int g = 0; g < groups; g += 2) {
        ahead.fetch<lines>();
        add_group<F, N, 0>(p, chunk, fresh, g, x, start, sum);
        if (g + 1 < groups) add_group<F, N, 1>(p, chunk, fresh, g + 1, x, start, sum);
    }
    for (int i = 0; i < N; ++i)
        for (int v = 0; v < panel_vectors; ++v) _mm512_storeu_ps(y[i] + 16 * v, sum[i][v]);
}

// A panel's rows for all tokens.
template <class F>
void multiply_panel(const Weight& w, int64_t first, const Input& in, float* out, int64_t stride) {
    PanelChunk chunk;
    const uint8_t* p = w.row(first);
    const Later later(w, p + panel_rows * w.row_bytes, in.next);
    for (int64_t c = 0; c < in.chunk_count(); ++c) {
        const int groups = static_cast<int>(std::min<int64_t>(8, (in.cols - c * chunk_cols) / 32));
        const int64_t bytes = panel_rows * F::bytes * (F::columns == 32 ? groups : 1);
        Ahead ahead{later, p};
        by_runs<6>(in.T, [&]<int N>(int64_t t) {
            const Chunk* x[N];
            float* y[N];
            fetch(in, t + N, N, c);
            for (int i = 0; i < N; ++i) x[i] = in.quantized(t + i) + c, y[i] = out + (t + i) * stride;
            ahead.wanted = (t + N) * bytes / in.T;
            panel_tile<F, N>(p, chunk, t == 0, groups, x, y, c == 0, ahead);
        });
        p += bytes;
    }
}

// Row r of the panel at p.
template <class F>
void decode_panel_row(const uint8_t* p, int64_t r, int64_t cols, float* out) {
    PanelChunk chunk;
    alignas(64) uint8_t quants[64];
    for (int64_t c = 0; c < cols; c += chunk_cols) {
        const int groups = static_cast<int>(std::min<int64_t>(8, (cols - c) / 32));
        for (int g = 0; g < groups; ++g) F::take(p, g, chunk);
        for (int i = 0; i < 32 * groups; i += 4) {
            const int s = i / F::group;
            const int from = static_cast<int>(r / 16 * 16), k = i % 32 / 4;
            _mm512_store_si512(quants, i / 32 % 2 ? F::template quants<1>(p, chunk, i / 32, k, from) : F::template quants<0>(p, chunk, i / 32, k, from));
            for (int j = 0; j < 4; ++j) {
                float value = chunk.a[panel_rows * s + r] * static_cast<float>(quants[r % 16 * 4 + j] - F::zero);
                out[c + i + j] = F::offset ? value + chunk.b[panel_rows * s + r] : value;
            }
        }
        p += panel_rows * F::bytes * (F::columns == 32 ? groups : 1);
    }
}

template <class Case>
inline void by_format_in_panels(Format format, const Case& f) {
    switch (format) {
        case Format::Q4_0_PANELS: return f.template operator()<Panels<Format::Q4_0_PANELS>>();
        case Format::Q4_1_PANELS: return f.template operator()<Panels<Format::Q4_1_PANELS>>();
        case Format::Q8_0_PANELS: return f.template operator()<Panels<Format::Q8_0_PANELS>>();
        case Format::Q4_K_PANELS: return f.template operator()<Panels<Format::Q4_K_PANELS>>();
        case Format::Q6_K_PANELS: return f.template operator()<Panels<Format::Q6_K_PANELS>>();
        default: return;
    }
}

}  // namespace

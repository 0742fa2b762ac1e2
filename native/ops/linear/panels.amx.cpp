// Weights in panels are widened chunk by chunk to what a tile multiplies: 16 pairs of columns, of each the two numbers of 16 rows.
// Two tiles of rows by two of tokens keep four sums: a step of 32 columns loads 4 tiles for 4 products of 16 cycles each.
#include <algorithm>

#include "amx.h"
#include "avx512.h"
#include "panels.avx512.h"
#include "tiles.h"

namespace {

constexpr int steps = chunk_cols / tile_columns, side = steps * tile_numbers;  // of a chunk, for 16 rows

// Four columns of 16 rows: two lines of a tile.
inline void put_columns(__m512i u, __m512 a, __m512 b, uint16_t* out) {
    const __m512i byte = _mm512_set1_epi32(255);
    auto number = [&](__m512i bytes) { return _mm512_fmadd_ps(_mm512_cvtepi32_ps(bytes), a, b); };
    __m512 x0 = number(_mm512_and_si512(u, byte)), x1 = number(_mm512_and_si512(_mm512_srli_epi32(u, 8), byte));
    __m512 x2 = number(_mm512_and_si512(_mm512_srli_epi32(u, 16), byte)), x3 = number(_mm512_srli_epi32(u, 24));
    _mm512_store_si512(out, rounded_pairs(x0, x1));
    _mm512_store_si512(out + 32, rounded_pairs(x2, x3));
}

template <class F, int Odd>
INLINE inline void widen_group(const uint8_t* p, PanelChunk& chunk, int g, uint16_t* out) {
    if constexpr (F::columns == 32 || !Odd) F::take(p, g, chunk);
    for (int v = 0; v < panel_vectors; ++v)
#pragma GCC unroll 8
        for (int k = 0; k < 8; ++k) {
            const int s = F::group == 32 ? g : 2 * g + k / 4;
            __m512 a = _mm512_load_ps(chunk.a + panel_rows * s + 16 * v);
            __m512 b = F::offset ? _mm512_load_ps(chunk.b + panel_rows * s + 16 * v) : _mm512_mul_ps(a, _mm512_set1_ps(-static_cast<float>(F::zero)));
            put_columns(F::template quants<Odd>(p, chunk, g, k, 16 * v), a, b, out + v * side + g * tile_numbers + 64 * k);
        }
}

template <class F>
void widen_chunk(const uint8_t* p, int groups, uint16_t* out) {
    PanelChunk chunk;
    for (int g = 0; g < groups; g += 2) {
        widen_group<F, 0>(p, chunk, g, out);
        if (g + 1 < groups) widen_group<F, 1>(p, chunk, g + 1, out);
    }
}

template <class F>
void multiply_panel_in_tiles(const Weight& w, int64_t first, const Input& in, float* out, int64_t stride) {
    alignas(64) uint16_t widened[panel_vectors * side];
    const uint8_t* p = w.row(first);
    Tiles tiles(tile_tokens);
    for (int64_t c = 0; c < in.cols; c += chunk_cols) {
        const int groups = static_cast<int>(std::min<int64_t>(steps, (in.cols - c) / tile_columns));
        const int64_t bytes = panel_rows * F::bytes * (F::columns == 32 ? groups : 1);
        widen_chunk<F>(p, groups, widened);
        p += bytes;
        for (int64_t line = 0; line < bytes; line += 64) __builtin_prefetch(p + line, 0, 2);
        const TileSide x{in.tiles + c / tile_columns * tile_numbers, tile_line, tile_numbers, tile_tokens * in.cols};
        multiply_in_tiles(&tiles, x, in.T, {widened, tile_line, tile_numbers, side}, panel_rows, groups, c == 0, out, stride);
    }
}

void put(const float* x, uint16_t* out) {
    _mm512_storeu_si512(out, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(x)));
}

void panel(const Weight& w, int64_t first, const Input& in, float* out, int64_t stride) {
    by_format_in_panels(w.format, [&]<class F>() { multiply_panel_in_tiles<F>(w, first, in, out, stride); });
}

}  // namespace

const TileTable tiles_amx = {32, put, panel};

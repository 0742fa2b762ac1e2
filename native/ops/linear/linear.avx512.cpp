#include "avx512.h"
#include "panels.avx512.h"
#include "quantize.avx512.h"
#include "rows.avx512.h"
#include "table.h"

// vpdpbusd: 64 products u8 x s8 a vector, four to an int32 lane, one such instruction a cycle on Zen 4 (two 256-bit
// halves; two 512-bit instructions of any kind a cycle). Rows: rows.avx512.h.
// Tiles: 2 vectors of rows by 6 tokens: 12 dots for 2 loads and 6 broadcasts; a group of 32 columns costs 96 dots and
// 24 to 36 float operations on the same units, so 73 to 80 % of the dot rate is the ceiling.
struct Avx512 {
    using Floats = __m512;
    using Ints = __m512i;
    static constexpr int lanes = 16, panels = 2, tokens = 6, float_tokens = 8, row_tokens = 4, signed_from = 1 << 30;
    static constexpr bool groups_in_lanes = false, widens_bytes = false;
    static constexpr int64_t float_tile_from = 8;
    template <class> static constexpr int64_t tile_from = 8;
    template <Format F> using Blocks = WideBlocks<F>;
    static constexpr int place(int column) { return column_place(column); }

    static Floats zero() { return _mm512_setzero_ps(); }
    static Floats load(const float* p) { return _mm512_loadu_ps(p); }
    static void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }
    static Floats load_part(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
    static void store_part(float* p, Floats v, int64_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }
    static Floats broadcast(float v) { return _mm512_set1_ps(v); }
    static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
    static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
    static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
    static float total(Floats v) { return _mm512_reduce_add_ps(v); }
    static Floats widen_half(const uint8_t* p) { return _mm512_cvtph_ps(load32(p)); }
    static Floats widen_bfloat(const uint8_t* p) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load32(p)), 16)); }
    static Floats widen_f8(const uint8_t* p) {
        __m512i x = _mm512_cvtepu8_epi32(load16(p)), rest = _mm512_and_si512(x, _mm512_set1_epi32(0x7f));
        __m512i normal = _mm512_add_epi32(_mm512_slli_epi32(rest, 20), _mm512_set1_epi32(120 << 23));
        __m512i small = _mm512_castps_si512(_mm512_mul_ps(_mm512_cvtepi32_ps(rest), _mm512_set1_ps(0x1p-9f)));
        __m512i value = _mm512_mask_mov_epi32(normal, _mm512_cmplt_epi32_mask(rest, _mm512_set1_epi32(8)), small);
        value = _mm512_mask_mov_epi32(value, _mm512_cmpeq_epi32_mask(rest, _mm512_set1_epi32(0x7f)), _mm512_set1_epi32(0x7fc00000));
        __m512i sign = _mm512_slli_epi32(_mm512_and_si512(x, _mm512_set1_epi32(0x80)), 24);
        return _mm512_castsi512_ps(_mm512_or_si512(value, sign));
    }

    static Ints broadcast(int32_t v) { return _mm512_set1_epi32(v); }
    static Ints broadcast4(const int8_t* p) { return _mm512_set1_epi32(::load<int32_t>(reinterpret_cast<const uint8_t*>(p))); }
    static Ints load_bytes(const void* p) { return _mm512_loadu_si512(p); }
    static Floats to_float(Ints v) { return _mm512_cvtepi32_ps(v); }
    template <bool>
    static Ints dot(Ints sum, Ints w, Ints x) { return _mm512_dpbusd_epi32(sum, w, x); }

    static void transpose(const Word* rows, int64_t stride, Word* out, int64_t out_stride) {
        __m512i v[16];
        for (int i = 0; i < 16; ++i) v[i] = words(rows + i * stride);
        transpose_words(v);
        for (int i = 0; i < 16; ++i) _mm512_storeu_si512(out + i * out_stride, v[i]);
    }

    template <class B>
    static void block_tiles(const Weight& w, int64_t first, int64_t n, const Input& in, float* out, int64_t stride) {
        by_tiles<Avx512>(n, [&](int64_t r, int64_t count) { block_panel<Avx512, B>(w, first + r, count, in, out + r, stride); });
    }
    template <class F>
    static void float_tiles(const Weight& w, int64_t first, int64_t n, const Input& in, float* out, int64_t stride) {
        by_tiles<Avx512>(n, [&](int64_t r, int64_t count) { float_panel<Avx512, F>(w, first + r, count, in, out + r, stride); });
    }
    template <class F, int N>
    static void float_rows(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, float* out, int64_t stride) {
        ::float_rows<Avx512, F, N>(w, first, n, in, t, out, stride);
    }
    template <class B, int N>
    static void block_rows(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, float* out, int64_t stride);
};

template <class B, int N>
void Avx512::block_rows(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, float* out, int64_t stride) {
    for (int64_t r = 0; r < n; r += rows_in_step)
        step_of_rows<B, N>(w, first + r, n - r < rows_in_step ? n - r : rows_in_step, in, t, w.row(first + n), out + r, stride);
}

namespace {
template <>
void quantize_group<Avx512>(const float* x, int g, Chunk* chunk) {
    int32_t low, high;
    const float scale = quantize_one(x, g, chunk, &low, &high);
    put_sums<Avx512>(low, high, scale, g, chunk);
}

template <>
void quantize_chunk<Avx512>(const float* x, Chunk* chunk) {
    quantize_all(x, chunk);
}
}  // namespace

static void panel_avx512(const Weight& w, int64_t first, int64_t n, const Input& in, float* out, int64_t stride) {
    if (!is_in_panels(w.format)) return panel<Avx512>(w, first, n, in, out, stride);
    by_format_in_panels(w.format, [&]<class F>() { multiply_panel<F>(w, first, in, out, stride); });
}

static void decode_avx512(const Weight& w, int64_t r, float* out) {
    if (!is_in_panels(w.format)) return decode<Avx512>(w, r, out);
    by_format_in_panels(w.format, [&]<class F>() { decode_panel_row<F>(w.row(r / panel_rows * panel_rows), r % panel_rows, w.cols, out); });
}

extern const LinearTable linear_avx512;
const LinearTable linear_avx512 = {prepare_chunk<Avx512>, put_group<Avx512>, panel_avx512, decode_avx512, swish};

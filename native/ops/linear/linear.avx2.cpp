#include <immintrin.h>

#include "rows.avx2.h"
#include "table.h"

// 32 byte products need maddubs (u8 x s8 -> s16 pairs), madd with ones (-> s32) and an add, against one vpdpbusd.
// maddubs saturates at 2 * 127 * u for u > 128, so formats of 8-bit quants are kept signed and multiplied as |w| by
// x with w's sign: at most 2 * 128 * 127 < 2^15. Pairs of fewer bits add up as 16 bits before they are widened: those of 4
// bits through a whole group. 2 vectors of rows by 4 tokens: 8 sums in registers, those of the floats in L1.
struct Avx2 {
    using Floats = __m256;
    using Ints = __m256i;
    static constexpr int lanes = 8, panels = 2, tokens = 4, float_tokens = 5, row_tokens = 4, signed_from = 64;
    static constexpr int64_t tile_from = 6;
    template <Format F> using Blocks = Eights<F>;
    static constexpr int place(int column) { return column % 32 / 4 * 32 + column / 32 * 4 + column % 4; }

    static Floats zero() { return _mm256_setzero_ps(); }
    static Floats load(const float* p) { return _mm256_loadu_ps(p); }
    static void store(float* p, Floats v) { _mm256_storeu_ps(p, v); }
    static __m256i mask(int64_t n) {
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n < 0 ? 0 : n > 8 ? 8 : n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    }
    static Floats load_part(const float* p, int64_t n) { return n >= 8 ? load(p) : _mm256_maskload_ps(p, mask(n)); }
    static void store_part(float* p, Floats v, int64_t n) {
        if (n >= 8) store(p, v);
        else _mm256_maskstore_ps(p, mask(n), v);
    }
    static Floats broadcast(float v) { return _mm256_set1_ps(v); }
    static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
    static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
    static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
    static float total(Floats v) {
        __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
        s = _mm_add_ps(s, _mm_movehl_ps(s, s));
        return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
    }
    static Floats widen_half(const uint8_t* p) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
    static Floats widen_bfloat(const uint8_t* p) {
        __m256i v = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
        return _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
    }
    static Floats widen_f8(const uint8_t* p) {
        alignas(32) float wide[8];
        for (int i = 0; i < 8; ++i) wide[i] = f8_to_float(p[i]);
        return load(wide);
    }

    static Ints broadcast(int32_t v) { return _mm256_set1_epi32(v); }
    static Ints broadcast4(const int8_t* p) { return _mm256_set1_epi32(load_dword(p)); }
    static int32_t load_dword(const int8_t* p) { return ::load<int32_t>(reinterpret_cast<const uint8_t*>(p)); }
    static Ints load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
    static Floats to_float(Ints v) { return _mm256_cvtepi32_ps(v); }
    template <class B, int N>
    static void add_dots(const uint8_t* u, const int8_t* const* columns, Ints (*dot)[panels]) {
        constexpr int run = 4 * vectors_in_16_bits<B>, step = run < B::group ? run : B::group;
        for (int from = 0; from < B::group; from += step) {
            Ints pairs[N][panels];
            for (int k = from; k < from + step; k += 4)
                for (int i = 0; i < N; ++i) {
                    Ints q = broadcast4(columns[i] + place(k));
                    for (int p = 0; p < panels; ++p) {
                        Ints products = pair_products<is_signed<Avx2, B>>(load_bytes(u + 4 * lanes * (k / 4 * panels + p)), q);
                        pairs[i][p] = k == from ? products : _mm256_add_epi16(pairs[i][p], products);
                    }
                }
            for (int i = 0; i < N; ++i)
                for (int p = 0; p < panels; ++p) dot[i][p] = add_pairs(dot[i][p], pairs[i][p]);
        }
    }
    static void transpose(const Word* rows, int64_t stride, Word* out, int64_t out_stride) {
        __m256i v[8];
        for (int i = 0; i < 8; ++i) v[i] = load32(rows + i * stride);
        transpose_words(v);
        for (int i = 0; i < 8; ++i) _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i * out_stride), v[i]);
    }

    template <class B, int N>
    static void block_rows(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, float* out, int64_t stride) {
        rows_of_eights<Avx2, B, N>(w, first, n, in, t, out, stride);
    }
};

extern const LinearTable linear_avx2;
const LinearTable linear_avx2 = {prepare_chunk<Avx2>, quantize_group<Avx2>, panel<Avx2>, decode<Avx2>, swish};

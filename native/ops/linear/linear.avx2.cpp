#include <immintrin.h>

#include "table.h"

// 32 byte products need maddubs (u8 x s8 -> s16 pairs), madd with ones (-> s32) and an add, against one vpdpbusd.
// maddubs saturates at 2 * 127 * u for u > 128, so formats of 8-bit quants are kept signed and multiplied as |w| by
// x with w's sign: at most 2 * 128 * 127 < 2^15. 16 registers allow a tile of 2 vectors of rows by 2 tokens.
struct Avx2 {
    using Floats = __m256;
    using Ints = __m256i;
    static constexpr int lanes = 8, panels = 2, tokens = 2, float_tokens = 5, row_tokens = 3, signed_from = 64;
    static constexpr int64_t tile_from = 6;
    template <Format F> using Blocks = ::Blocks<F>;
    static constexpr int place(int column) { return column; }

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
    template <bool Signed>
    static Ints dot(Ints sum, Ints w, Ints x) {
        Ints pairs = Signed ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)) : _mm256_maddubs_epi16(w, x);
        return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    static void transpose(const Word* rows, int64_t stride, Word* out, int64_t out_stride) {
        for (int k = 0; k < lanes; ++k)
            for (int r = 0; r < lanes; ++r) out[k * out_stride + r] = rows[r * stride + k];
    }

    // 8 lanes hold the sums of 4 products each: one group of 32, or two of 16 with a scale each.
    template <int Group, bool Signed>
    static Floats dot_chunk(const uint8_t* u, const float* a, const Chunk& x, int groups, Floats sum) {
        for (int g = 0; g < groups * Group / 32; ++g) {
            Floats dots = to_float(dot<Signed>(_mm256_setzero_si256(), load_bytes(u + 32 * g), load_bytes(x.q + 32 * g)));
            Floats scale = Group == 32 ? broadcast(a[g] * x.scale[2 * g])
                                       : _mm256_set_m128(_mm_set1_ps(a[2 * g + 1] * x.scale[2 * g]), _mm_set1_ps(a[2 * g] * x.scale[2 * g]));
            sum = fma(dots, scale, sum);
        }
        return sum;
    }
    template <class B, int N>
    static void block_rows(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, float* out, int64_t stride) {
        ::block_rows<Avx2, B, N>(w, first, n, in, t, out, stride);
    }
};

extern const LinearTable linear_avx2;
const LinearTable linear_avx2 = {prepare_chunk<Avx2>, quantize_group<Avx2>, panel<Avx2>, decode<Avx2>, swish};

#include <immintrin.h>

#include "floats.avx2.h"
#include "lanes.avx2.h"
#include "table.h"

// 32 byte products need maddubs (u8 x s8 -> s16 pairs), madd with ones (-> s32) and an add, against one vpdpbusd.
// maddubs saturates at 2 * 127 * u for u > 128, so formats of 8-bit quants are kept signed and multiplied as |w| by
// x with w's sign: at most 2 * 128 * 127 < 2^15. Pairs of fewer bits add up as 16 bits before they are widened: those of 4
// bits through a whole group. Few tokens: rows.avx2.h, many: tiles.avx2.h, floats: floats.avx2.h.
struct Avx2 {
    using Floats = __m256;
    static constexpr int lanes = 8, row_tokens = 4, signed_from = 64;
    static constexpr bool groups_in_lanes = true, widens_bytes = true;
    static constexpr int64_t float_tile_from = 16;
    template <class B> static constexpr int64_t tile_from = has_nibbles<B> ? 17 : 4;
    template <Format F> using Blocks = Eights<F>;
    static constexpr int place(int column) { return column % 32 / 4 * 32 + column / 32 * 4 + column % 4; }

    static Floats load(const float* p) { return _mm256_loadu_ps(p); }
    static void store(float* p, Floats v) { _mm256_storeu_ps(p, v); }
    static __m256i mask(int64_t n) {
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n < 0 ? 0 : n > 8 ? 8 : n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    }
    static Floats load_part(const float* p, int64_t n) { return n >= 8 ? load(p) : _mm256_maskload_ps(p, mask(n)); }
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
        __m256i x = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
        __m256i rest = _mm256_and_si256(x, _mm256_set1_epi32(0x7f)), sign = _mm256_slli_epi32(_mm256_sub_epi32(x, rest), 24);
        __m256 normal = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(rest, 20), _mm256_set1_epi32(120 << 23)));
        __m256 small = _mm256_mul_ps(_mm256_cvtepi32_ps(rest), _mm256_set1_ps(0x1p-9f)), nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
        __m256 value = _mm256_blendv_ps(normal, small, _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(8), rest)));
        value = _mm256_blendv_ps(value, nan, _mm256_castsi256_ps(_mm256_cmpeq_epi32(rest, _mm256_set1_epi32(0x7f))));
        return _mm256_or_ps(value, _mm256_castsi256_ps(sign));
    }

    template <class B>
    INLINE static void widen_bytes(const uint8_t* u, float a, float b, float* out) {
        for (int i = 0; i < B::group; i += 8) {
            __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(u + i)));
            __m256 value = _mm256_mul_ps(_mm256_set1_ps(a), _mm256_cvtepi32_ps(_mm256_sub_epi32(wide, _mm256_set1_epi32(B::zero))));
            if constexpr (B::offset) value = _mm256_add_ps(value, _mm256_set1_ps(b));
            store(out + i, value);
        }
    }

    template <class B, int N>
    static void block_rows(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, float* out, int64_t stride) {
        rows_of_eights<Avx2, B, N>(w, first, n, in, t, out, stride);
    }
    template <class B>
    static void block_tiles(const Weight& w, int64_t first, int64_t n, const Input& in, float* out, int64_t stride) {
        by_blocks(in.T, [&](int64_t begin, int64_t end) { block_of_tokens<Avx2, B>(w, first, n, in, begin, end, out, stride); });
    }
    template <class F, int N>
    static void float_rows(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, float* out, int64_t stride) {
        rows_of_floats<Avx2, F, N>(w, first, n, in, t, out, stride);
    }
    template <class F>
    static void float_tiles(const Weight& w, int64_t first, int64_t n, const Input& in, float* out, int64_t stride) {
        by_blocks(in.T, [&](int64_t begin, int64_t end) { floats_of_tokens<Avx2, F>(w, first, n, in, begin, end, out, stride); });
    }
};

namespace {

// A lane's dword of each vector is four columns: after packing, dword j of the lower half holds columns 8j to 8j + 3, and of the
// upper one the next four.
template <>
void quantize_group<Avx2>(const float* x, int g, Chunk* chunk) {
    float most = magnitude(x), inverse = most > 1e-30f ? 127.0f / most : 0.0f, scale = most / 127.0f;
    const __m256 factor = _mm256_set1_ps(inverse), high = _mm256_set1_ps(127.0f), low = _mm256_set1_ps(-127.0f);
    __m256i q[4];
    for (int i = 0; i < 4; ++i) {
        __m256 v = _mm256_round_ps(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), factor), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        q[i] = _mm256_cvttps_epi32(_mm256_max_ps(_mm256_min_ps(v, high), low));  // a NaN becomes 127
    }
    __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    alignas(32) int32_t words[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(words), bytes);
    for (int i = 0; i < 8; ++i) std::memcpy(chunk->q + 32 * i + 4 * g, words + i / 2 + i % 2 * 4, 4);
    __m256i fours = add_pairs(_mm256_setzero_si256(), _mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes));
    __m128i eights = _mm_add_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
    __m128i halves = _mm_hadd_epi32(eights, eights);
    put_sums<Avx2>(_mm_cvtsi128_si32(halves), _mm_extract_epi32(halves, 1), scale, g, chunk);
}

}  // namespace

extern const LinearTable linear_avx2;
const LinearTable linear_avx2 = {prepare_chunk<Avx2>, put_group<Avx2>, panel<Avx2>, decode<Avx2>, swish};

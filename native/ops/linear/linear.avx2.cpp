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

// A lane for each group: the largest magnitude, as in `magnitude`.
__m256 magnitudes(const float* x) {
    const __m256i sign = _mm256_set1_epi32(0x7fffffff);
    __m256i most[8];
    for (int g = 0; g < 8; ++g) {
        most[g] = _mm256_and_si256(load32(x + 32 * g), sign);
        for (int i = 8; i < 32; i += 8) most[g] = _mm256_max_epi32(most[g], _mm256_and_si256(load32(x + 32 * g + i), sign));
    }
    transpose_words(most);
    for (int step = 4; step; step /= 2)
        for (int i = 0; i < step; ++i) most[i] = _mm256_max_epi32(most[i], most[i + step]);
    return _mm256_castsi256_ps(most[0]);
}

// 32 numbers as bytes: dwords of the lower half hold columns 8j to 8j + 3, of the upper one the next four.
__m256i rounded(const float* x, __m256 factor) {
    const __m256 high = _mm256_set1_ps(127.0f), low = _mm256_set1_ps(-127.0f);
    __m256i q[4];
    for (int i = 0; i < 4; ++i)
        q[i] = _mm256_cvtps_epi32(_mm256_max_ps(_mm256_min_ps(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), factor), high), low));  // a NaN becomes 127
    return _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
}

// The sums of four columns' quants in four vectors, a lane for each group.
__m256i sum_of(__m256i a, __m256i b, __m256i c, __m256i d) {
    const __m256i one = _mm256_set1_epi8(1);
    __m256i ab = _mm256_add_epi16(_mm256_maddubs_epi16(one, a), _mm256_maddubs_epi16(one, b));
    __m256i cd = _mm256_add_epi16(_mm256_maddubs_epi16(one, c), _mm256_maddubs_epi16(one, d));
    return _mm256_madd_epi16(_mm256_add_epi16(ab, cd), _mm256_set1_epi16(1));
}

void put_chunk_sums(__m256i low, __m256i high, __m256 scale, Chunk* chunk) {
    const __m256i zero = _mm256_setzero_si256(), both = _mm256_add_epi32(low, high);
    auto put = [](int32_t* to, __m256i v) { _mm256_store_si256(reinterpret_cast<__m256i*>(to), v); };
    put(chunk->minus16, _mm256_sub_epi32(zero, low)), put(chunk->minus16 + 8, _mm256_sub_epi32(zero, high));
    put(chunk->minus32, _mm256_sub_epi32(zero, both));
    _mm256_store_ps(chunk->scale, scale), _mm256_store_ps(chunk->scale + 8, scale);
    _mm256_store_ps(chunk->sum32, _mm256_mul_ps(scale, _mm256_cvtepi32_ps(both)));
    __m256 a = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(low)), b = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(high));
    __m256 even = _mm256_unpacklo_ps(a, b), odd = _mm256_unpackhi_ps(a, b);
    _mm256_store_ps(chunk->sum16, _mm256_permute2f128_ps(even, odd, 0x20));
    _mm256_store_ps(chunk->sum16 + 8, _mm256_permute2f128_ps(even, odd, 0x31));
}

// The same numbers as quantize_group's, of all groups at once: one by one each waits for its own division.
template <>
void quantize_chunk<Avx2>(const float* x, Chunk* chunk) {
    const __m256 most = magnitudes(x), full = _mm256_set1_ps(127.0f);
    alignas(32) float inverse[8];
    _mm256_store_ps(inverse, _mm256_and_ps(_mm256_div_ps(full, most), _mm256_cmp_ps(most, _mm256_set1_ps(1e-30f), _CMP_GT_OQ)));
    __m256i q[8];
    for (int g = 0; g < 8; ++g) q[g] = rounded(x + 32 * g, _mm256_set1_ps(inverse[g]));
    transpose_words(q);
    for (int d = 0; d < 8; ++d) _mm256_store_si256(reinterpret_cast<__m256i*>(chunk->q + 32 * (d % 4 * 2 + d / 4)), q[d]);
    put_chunk_sums(sum_of(q[0], q[1], q[4], q[5]), sum_of(q[2], q[3], q[6], q[7]), _mm256_div_ps(most, full), chunk);
}

}  // namespace

extern const LinearTable linear_avx2;
const LinearTable linear_avx2 = {prepare_chunk<Avx2>, put_group<Avx2>, panel<Avx2>, decode<Avx2>, swish};

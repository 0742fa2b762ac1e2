#pragma once

#include "blocks.avx2.h"
#include "tile.h"

// A few tokens: rows of W are multiplied as they lie. A lane is one of a chunk's 8 groups of 32 columns, so that dot products
// add up in one register, and one conversion, one multiply and one fma serve 256 columns (twice that with groups of 16).
namespace {

// Products of bytes add up in 16 bits as long as they fit: how many vectors of them.
template <class B>
constexpr int vectors_in_16_bits = B::bits <= 4 ? 8 : B::bits == 5 ? 4 : B::bits == 6 ? 2 : 1;

// u x q, pairs of columns to 16 bits. Signed quants are multiplied as |u| by q with u's sign.
template <bool Signed>
inline __m256i pair_products(__m256i u, __m256i q) {
    return Signed ? _mm256_maddubs_epi16(_mm256_abs_epi8(u), _mm256_sign_epi8(q, u)) : _mm256_maddubs_epi16(u, q);
}
inline __m256i add_pairs(__m256i sum, __m256i pairs) { return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))); }

// Vectors From to From + Count of a chunk.
template <class S, class B, int From, int Count>
inline __m256i dots(__m256i sum, const __m256i* u, const Chunk& x) {
    constexpr int most = vectors_in_16_bits<B>, run = most < Count ? most : Count;
    for (int k = From; k < From + Count; k += run) {
        __m256i pairs = pair_products<is_signed<S, B>>(u[k], load32(x.q + 32 * k));
        for (int j = 1; j < run; ++j) pairs = _mm256_add_epi16(pairs, pair_products<is_signed<S, B>>(u[k + j], load32(x.q + 32 * (k + j))));
        sum = add_pairs(sum, pairs);
    }
    return sum;
}

template <class S, class B>
inline __m256i start_of(__m256i minus) {
    return B::offset || is_signed<S, B> ? _mm256_setzero_si256() : _mm256_mullo_epi32(minus, _mm256_set1_epi32(B::zero));
}

template <class S, class B>
inline __m256 add_chunk(const __m256i* u, const float* a, const float* b, const Chunk& x, __m256 sum) {
    __m256 scale = alternate<0>(x.scale);
    if constexpr (B::group == 32) {
        __m256i all = dots<S, B, 0, 8>(start_of<S, B>(load32(x.minus32)), u, x);
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(all), _mm256_mul_ps(_mm256_load_ps(a), scale), sum);
        return B::offset ? _mm256_fmadd_ps(_mm256_load_ps(b), _mm256_load_ps(x.sum32), sum) : sum;
    } else {
        __m256i first = dots<S, B, 0, 4>(start_of<S, B>(_mm256_castps_si256(alternate<0>(x.minus16))), u, x);
        __m256i second = dots<S, B, 4, 4>(start_of<S, B>(_mm256_castps_si256(alternate<1>(x.minus16))), u, x);
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(first), _mm256_mul_ps(alternate<0>(a), scale), sum);
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(second), _mm256_mul_ps(alternate<1>(a), scale), sum);
        if constexpr (B::offset)
            for (int g = 0; g < 16; g += 8) sum = _mm256_fmadd_ps(_mm256_load_ps(b + g), _mm256_load_ps(x.sum16 + g), sum);
        return sum;
    }
}

// Into L2, and as far ahead of the bytes in use as memory is away; what follows lies `jump` behind the end.
inline void fetch_later(const uint8_t* p, int64_t bytes) {
    for (int64_t line = 0; line < bytes; line += 64) _mm_prefetch(reinterpret_cast<const char*>(p) + line, _MM_HINT_T1);
}

template <class S, class B, int N>
inline void rows_of_eights(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, float* out, int64_t stride) {
    alignas(32) uint8_t copy[B::chunk_bytes];
    alignas(32) float a[16], b[16];
    const uint8_t* end = w.row(first + n);
    const int64_t jump = in.next ? in.next - end : 0;
    for (int64_t r = first; r < first + n; ++r) {
        __m256 sum[N];
        for (int i = 0; i < N; ++i) sum[i] = _mm256_setzero_ps();
        for (int64_t c = 0; c < in.chunk_count(); ++c) {
            const uint8_t *p = w.row(r) + c * B::chunk_bytes, *later = p + fetched_ahead(w);
            fetch_later(later < end ? later : later + jump, B::chunk_bytes);
            p = whole_chunk<B>(p, in.cols - c * chunk_cols, copy);
            __m256i u[8];
            B::scales(p, a, b);
            B::eights(p, u);
            for (int i = 0; i < N; ++i) sum[i] = add_chunk<S, B>(u, a, b, in.quantized(t + i)[c], sum[i]);
        }
        for (int i = 0; i < N; ++i) out[(t + i) * stride + r - first] = S::total(sum[i]);
    }
}

}  // namespace

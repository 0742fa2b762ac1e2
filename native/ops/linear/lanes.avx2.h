#pragma once

#include "blocks.avx2.h"

// GGUF's formats in the order in which AVX2 multiplies them: the same bytes or bits of each chunk of 256 columns, moved once
// (arrange.cpp, moving.h), so that nothing has to be moved after loading a vector of them. A lane belongs to one of the
// chunk's 8 groups of 32 columns, or of the G that are left at the end of a row.
//   Q4_0, Q4_1  G binary16 scales; Q4_1: G minima; nibbles
//   Q4_K        d, dmin and 12 bytes of scales as they were; nibbles
//   Q6_K        nibbles; pairs; int8 scales of each group's first half, then of each second one; d
//   nibbles     4 vectors of 4 G bytes: byte 4 g + i of vector k holds columns 4 k + i (low) and 16 + 4 k + i (high) of group g
//   pairs       2 vectors of 4 G bytes: the pairs of byte 4 g + i of vector k belong to columns 16 k + i, + 4, + 8 and + 12
namespace {

inline void nibbles_in_lanes(const uint8_t* p, uint8_t* u) {
    for (int g = 0; g < 8; ++g, u += 32)
        for (int k = 0; k < 4; ++k)
            for (int i = 0; i < 4; ++i) {
                uint8_t both = p[32 * k + 4 * g + i];
                u[4 * k + i] = both & 15, u[16 + 4 * k + i] = both >> 4;
            }
}

template <int Halves, int Zero>
struct LanesShape : Shape32<16 + 2 * Halves, Zero, Halves == 2> {
    using Shape = Shape32<16 + 2 * Halves, Zero, Halves == 2>;
    static constexpr int first_nibbles = 16 * Halves;

    // A chunk of `groups` into one of 8, from `lane` on.
    INLINE static void put(const uint8_t* p, int64_t groups, int64_t lane, uint8_t* chunk) {
        for (int h = 0; h < Halves; ++h, p += 2 * groups) std::memcpy(chunk + 16 * h + 2 * lane, p, 2 * groups);
        for (int k = 0; k < 4; ++k, p += 4 * groups) std::memcpy(chunk + first_nibbles + 32 * k + 4 * lane, p, 4 * groups);
    }
    static void spread(const uint8_t* p, int64_t groups, uint8_t* copy) {
        std::memset(copy, 0, Shape::chunk_bytes);
        put(p, groups, 0, copy);
    }
    static void scales(const uint8_t* p, float* a, float* b) {
        for (int g = 0; g < 8; ++g) {
            a[g] = load_half(p + 2 * g);
            if constexpr (Halves == 2) b[g] = load_half(p + 16 + 2 * g);
        }
    }
    static const uint8_t* nibbles(const uint8_t* p) { return p + first_nibbles; }
    static void quants(const uint8_t* p, uint8_t* u) { nibbles_in_lanes(nibbles(p), u); }
};
template <> struct Blocks<Format::Q4_0_LANES> : LanesShape<1, 8> {};
template <> struct Blocks<Format::Q4_1_LANES> : LanesShape<2, 0> {};

template <> struct Blocks<Format::Q4_K_LANES> : Shape256<144, 32, 0, true> {
    static void scales(const uint8_t* p, float* a, float* b) { k_scales(p, a, b); }
    static const uint8_t* nibbles(const uint8_t* p) { return p + 16; }
    static void quants(const uint8_t* p, uint8_t* u) { nibbles_in_lanes(nibbles(p), u); }
};

template <> struct Blocks<Format::Q6_K_LANES> : Shape256<210, 16, 32> {
    static void scales(const uint8_t* p, float* a, float*) {
        float d = load_half(p + 208);
        for (int i = 0; i < 16; ++i) a[i] = d * static_cast<float>(static_cast<int8_t>(p[192 + i % 2 * 8 + i / 2]));
    }
    static void quants(const uint8_t* p, uint8_t* u) {
        nibbles_in_lanes(p, u);
        for (int g = 0; g < 8; ++g)
            for (int c = 0; c < 32; ++c) u[32 * g + c] |= (p[128 + c / 16 * 32 + 4 * g + c % 4] >> (c % 16 / 4 * 2) & 3) << 4;
    }
};

inline void eights_of_nibbles(const uint8_t* p, __m256i* u) {
    for (int k = 0; k < 4; ++k) {
        __m256i both = load32(p + 32 * k);
        u[k] = low_nibbles(both), u[4 + k] = low_nibbles(_mm256_srli_epi16(both, 4));
    }
}
inline __m256 eight_halves_in_a_row(const uint8_t* p) { return _mm256_cvtph_ps(load16(p)); }

template <> struct Eights<Format::Q4_0_LANES> : Numbers<Format::Q4_0_LANES, 4> {
    static void scales(const uint8_t* p, float* a, float*) { _mm256_storeu_ps(a, eight_halves_in_a_row(p)); }
    static void eights(const uint8_t* p, __m256i* u) { eights_of_nibbles(nibbles(p), u); }
};
template <> struct Eights<Format::Q4_1_LANES> : Numbers<Format::Q4_1_LANES, 4> {
    static void scales(const uint8_t* p, float* a, float* b) {
        _mm256_storeu_ps(a, eight_halves_in_a_row(p)), _mm256_storeu_ps(b, eight_halves_in_a_row(p + 16));
    }
    static void eights(const uint8_t* p, __m256i* u) { eights_of_nibbles(nibbles(p), u); }
};
template <> struct Eights<Format::Q4_K_LANES> : SixBitScales<Format::Q4_K_LANES, 4> {
    static void eights(const uint8_t* p, __m256i* u) { eights_of_nibbles(nibbles(p), u); }
};
template <> struct Eights<Format::Q6_K_LANES> : Numbers<Format::Q6_K_LANES, 6> {
    // Of each group's first half, then of each second one.
    static void halves(const uint8_t* p, __m256* a) {
        for (int h = 0; h < 2; ++h) {
            __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 192 + 8 * h));
            a[h] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), one_half(p + 208));
        }
    }
    static void eights(const uint8_t* p, __m256i* u) {
        eights_of_nibbles(p, u);
        const __m256i upper = _mm256_set1_epi8(48);
        for (int k = 0; k < 2; ++k) {
            __m256i pairs = load32(p + 128 + 32 * k);
            u[4 * k] = _mm256_or_si256(u[4 * k], _mm256_and_si256(_mm256_slli_epi16(pairs, 4), upper));
            u[4 * k + 1] = _mm256_or_si256(u[4 * k + 1], _mm256_and_si256(_mm256_slli_epi16(pairs, 2), upper));
            u[4 * k + 2] = _mm256_or_si256(u[4 * k + 2], _mm256_and_si256(pairs, upper));
            u[4 * k + 3] = _mm256_or_si256(u[4 * k + 3], _mm256_and_si256(_mm256_srli_epi16(pairs, 2), upper));
        }
    }
};

}  // namespace

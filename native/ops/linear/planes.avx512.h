#pragma once

#include "blocks.avx512.h"
#include "planes.h"

// divebell's own formats as 512-bit vectors: quads() are the planes as they lie, looked up or with the sign bit turned.
namespace {

template <> struct Wide<Format::D4> : PlanesShape<2> {
    static Scales scales(const uint8_t* p) {
        __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + planes + 2));
        __m512 each = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_unpacklo_epi8(bytes, bytes)));
        return {_mm512_mul_ps(_mm512_set1_ps(half(p + planes) * own_unit), each), _mm512_setzero_ps()};
    }
    static void quads(const uint8_t* p, __m512i* u) {
        const __m512i low = _mm512_set1_epi8(15);
        for (int k = 0; k < 2; ++k) {
            __m512i both = load64(p + 64 * k);
            u[2 * k] = look_up(iq4_values, _mm512_and_si512(both, low));
            u[2 * k + 1] = look_up(iq4_values, _mm512_and_si512(_mm512_srli_epi64(both, 4), low));
        }
    }
    static __m512i quants(const uint8_t* p, int j) {
        const __m512i pieces = _mm512_setr_epi64(0, 0, 8, 8, 1, 1, 9, 9), shifts = _mm512_setr_epi64(0, 4, 0, 4, 0, 4, 0, 4);
        __m512i picked = _mm512_add_epi64(pieces, _mm512_set1_epi64(2 * j));
        __m512i both = _mm512_permutex2var_epi64(load64(p), picked, load64(p + 64));
        return look_up(iq4_values, _mm512_and_si512(_mm512_srlv_epi64(both, shifts), _mm512_set1_epi8(15)));
    }
};

template <> struct Wide<Format::D8> : PlanesShape<4> {
    static Scales scales(const uint8_t* p) {
        __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + planes + 2));
        __m512 each = bytes_to_floats(_mm_unpacklo_epi8(bytes, bytes));
        return {_mm512_mul_ps(_mm512_set1_ps(half(p + planes) * own_unit), each), _mm512_setzero_ps()};
    }
    static __m512i unsign(__m512i q) { return _mm512_xor_si512(q, _mm512_set1_epi8(-128)); }
    static void quads(const uint8_t* p, __m512i* u) {
        for (int k = 0; k < 4; ++k) u[k] = unsign(load64(p + 64 * k));
    }
    static __m512i quants(const uint8_t* p, int j) {
        const __m512i first = _mm512_setr_epi64(0, 8, 0, 0, 1, 9, 0, 0), second = _mm512_setr_epi64(0, 0, 0, 8, 0, 0, 1, 9);
        const __m512i move = _mm512_set1_epi64(2 * j);
        __m512i a = _mm512_permutex2var_epi64(load64(p), _mm512_add_epi64(first, move), load64(p + 64));
        __m512i b = _mm512_permutex2var_epi64(load64(p + 128), _mm512_add_epi64(second, move), load64(p + 192));
        return unsign(_mm512_mask_mov_epi64(a, 0xcc, b));
    }
};

}  // namespace

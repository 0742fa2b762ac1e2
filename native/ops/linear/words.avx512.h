#pragma once

#include <immintrin.h>

#include "blocks.h"

// Bits, words and scales of stored blocks, gathered into 512-bit vectors.
namespace {

struct Scales {
    __m512 a, b;
};

inline __m128i load16(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
inline __m256i load32(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline __m512i load64(const void* p) { return _mm512_loadu_si512(p); }

inline __m512i low_nibbles(__m512i bytes) { return _mm512_and_si512(bytes, _mm512_set1_epi8(15)); }
inline __m512i high_nibbles(__m512i bytes) { return low_nibbles(_mm512_srli_epi16(bytes, 4)); }

// 16 bytes at p to the lower half, 16 at q to the upper, each twice: low nibbles first, high nibbles second.
inline __m512i nibbles(const uint8_t* p, const uint8_t* q) {
    __m512i both = _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(load16(p)), 0xff00, load16(q));
    const __m512i shifts = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
    return _mm512_and_si512(_mm512_srlv_epi64(both, shifts), _mm512_set1_epi8(15));
}
// 32 bytes twice: low nibbles are the first 32 columns, high nibbles the next.
inline __m512i nibbles(const uint8_t* p) {
    const __m512i shifts = _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4);
    return _mm512_and_si512(_mm512_srlv_epi64(_mm512_broadcast_i64x4(load32(p)), shifts), _mm512_set1_epi8(15));
}
// Bits `low` of 32 bytes for the first 32 columns, bits `high` for the next, masked and moved `up`.
inline __m512i planes(const uint8_t* p, int low, int high, int mask, int up) {
    __m512i shifts = _mm512_inserti64x4(_mm512_set1_epi64(low), _mm256_set1_epi64x(high), 1);
    __m512i bits = _mm512_and_si512(_mm512_srlv_epi64(_mm512_broadcast_i64x4(load32(p)), shifts), _mm512_set1_epi8(mask));
    return _mm512_slli_epi64(bits, up);
}

// Words of a chunk's blocks by number: W words to a block, the last ones from C on out of a vector of their own, as no load
// may reach past the chunk. `which` says for each word of the result which word of which block it is.
template <int W>
struct ChunkWords {
    static constexpr int tail = 8 * W - 32;
    __m512i a, b, c;

    explicit ChunkWords(const uint8_t* p) : a(load64(p)), b(load64(p + 64)), c(load64(p + 2 * tail)) {}

    struct Order {
        alignas(64) uint16_t near[32], far[32];
        uint32_t beyond = 0;
    };
    template <class Which>
    static constexpr Order order(Which which) {
        Order o{};
        for (int i = 0; i < 32; ++i) {
            int word = which(i);
            o.near[i] = static_cast<uint16_t>(word < 64 ? word : 0);
            o.far[i] = static_cast<uint16_t>(word < 64 ? 0 : word - tail);
            if (word >= 64) o.beyond |= 1u << i;
        }
        return o;
    }
    __m512i pick(const Order& o) const {
        __m512i near = _mm512_permutex2var_epi16(a, _mm512_load_si512(o.near), b);
        return o.beyond ? _mm512_mask_permutexvar_epi16(near, o.beyond, _mm512_load_si512(o.far), c) : near;
    }
};

// 8 bytes of each block, from its word `First` on.
template <int W, int First>
inline __m512i eight_bytes(const ChunkWords<W>& words) {
    static constexpr auto order = ChunkWords<W>::order([](int i) { return i / 4 * W + First + i % 4; });
    return words.pick(order);
}

// The low and high nibbles of 16 bytes of each block, from its word `First` on.
template <int W, int First>
inline void nibble_quads(const uint8_t* p, __m512i* u) {
    const __m512i low = _mm512_set1_epi8(15);
    ChunkWords<W> words(p);
    for (int i = 0; i < 2; ++i) {
        __m512i bytes = i ? eight_bytes<W, First + 4>(words) : eight_bytes<W, First>(words);
        u[i] = _mm512_and_si512(bytes, low), u[2 + i] = _mm512_and_si512(_mm512_srli_epi64(bytes, 4), low);
    }
}

inline __m512 low_halves(__m512i words) { return _mm512_cvtph_ps(_mm512_castsi512_si256(words)); }
inline __m512 high_halves(__m512i words) { return _mm512_cvtph_ps(_mm512_extracti64x4_epi64(words, 1)); }

// The first half of each block, twice.
template <int W>
inline Scales first_halves(const uint8_t* p) {
    static constexpr auto order = ChunkWords<W>::order([](int i) { return i % 16 / 2 * W; });
    return {low_halves(ChunkWords<W>(p).pick(order)), _mm512_setzero_ps()};
}

// Of blocks of 18 bytes four lie in a load but for the last 10 bytes, so 8 bytes of each come by one permute of two loads.
struct Words18 {
    __m512i a, b;

    explicit Words18(const uint8_t* p) : a(load64(p)), b(load64(p + 72)) {}

    struct Order {
        alignas(64) uint16_t word[32];
    };
    template <class Which>
    static constexpr Order order(Which which) {
        Order o{};
        for (int i = 0; i < 32; ++i) o.word[i] = which(i);
        return o;
    }
    __m512i pick(const Order& o) const { return _mm512_permutex2var_epi16(a, _mm512_load_si512(o.word), b); }
    // Word `at` of block g.
    static constexpr uint16_t place(int g, int at) { return static_cast<uint16_t>(g / 4 * 32 + g % 4 * 9 + at); }
};

inline void nibble_quads18(const uint8_t* p, __m512i* u) {
    static constexpr auto eight = Words18::order([](int i) { return Words18::place(i / 4, 1 + i % 4); });
    const __m512i low = _mm512_set1_epi8(15);
    for (int i = 0; i < 2; ++i) {
        __m512i bytes = Words18(p + 8 * i).pick(eight);
        u[i] = _mm512_and_si512(bytes, low), u[2 + i] = _mm512_and_si512(_mm512_srli_epi64(bytes, 4), low);
    }
}

// The first half of each block, twice.
inline Scales first_halves18(const uint8_t* p) {
    static constexpr auto order = Words18::order([](int i) { return Words18::place(i % 16 / 2, 0); });
    return {low_halves(Words18(p).pick(order)), _mm512_setzero_ps()};
}

// The first two halves of each block, twice: a and b.
template <int W>
inline Scales first_pairs(const uint8_t* p) {
    static constexpr auto order = ChunkWords<W>::order([](int i) { return i % 16 / 2 * W + i / 16; });
    __m512i words = ChunkWords<W>(p).pick(order);
    return {low_halves(words), high_halves(words)};
}

// Number g of 8 to lanes 2g and 2g + 1.
inline __m512 twice(__m256 v) {
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), _mm512_castps256_ps512(v));
}

// The 8 halves that stand at p, p + Stride, ...
template <int Stride>
inline __m256 eight_halves(const uint8_t* p) {
    __m128i h = _mm_cvtsi32_si128(load<uint16_t>(p));
    h = _mm_insert_epi16(h, load<uint16_t>(p + 1 * Stride), 1);
    h = _mm_insert_epi16(h, load<uint16_t>(p + 2 * Stride), 2);
    h = _mm_insert_epi16(h, load<uint16_t>(p + 3 * Stride), 3);
    h = _mm_insert_epi16(h, load<uint16_t>(p + 4 * Stride), 4);
    h = _mm_insert_epi16(h, load<uint16_t>(p + 5 * Stride), 5);
    h = _mm_insert_epi16(h, load<uint16_t>(p + 6 * Stride), 6);
    h = _mm_insert_epi16(h, load<uint16_t>(p + 7 * Stride), 7);
    return _mm256_cvtph_ps(h);
}
inline float half(const uint8_t* p) { return _cvtsh_ss(load<uint16_t>(p)); }
inline __m512 bytes_to_floats(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)); }

}  // namespace

#pragma once

#include <immintrin.h>

#include "blocks.h"

// The block formats as 512-bit vectors. scales() gives a and b of a chunk in 16 lanes: one for each group of 16, two for
// each group of 32. quants(p, j) gives the 64 unsigned quants of columns 64 j to 64 j + 63, quads() the 256 of a chunk with
// 8 columns of every group of 32 in a vector: 0 to 7 of each, then 8 to 15, 16 to 23, 24 to 31. Bits that shifts carry over
// from the next byte are masked off.
namespace {

// Where a chunk's q holds a column: 8 of each group of 32 in a vector, as quads() has them.
constexpr int column_place(int column) { return column % 32 / 8 * 64 + column / 32 * 8 + column % 8; }

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

// Adapts the vector form to the arrays that tiles are unpacked from.
template <class V, class Shape>
struct Vectors : Shape {
    static void scales(const uint8_t* p, float* a, float* b) {
        Scales s = V::scales(p);
        store(s.a, a);
        if constexpr (Shape::offset) store(s.b, b);
    }
    static void store(__m512 v, float* out) {
        const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14);
        _mm512_storeu_ps(out, Shape::group == 32 ? _mm512_permutexvar_ps(even, v) : v);
    }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int j = 0; j < 4; ++j) _mm512_storeu_si512(u + 64 * j, V::quants(p, j));
    }
};

// From vectors of 64 columns in their own order.
template <class V>
inline void quads_of(const uint8_t* p, __m512i* u) {
    const __m512i first = _mm512_setr_epi64(0, 4, 8, 12, 1, 5, 9, 13), second = _mm512_setr_epi64(2, 6, 10, 14, 3, 7, 11, 15);
    __m512i q[4];
    for (int j = 0; j < 4; ++j) q[j] = V::quants(p, j);
    __m512i a = _mm512_permutex2var_epi64(q[0], first, q[1]), b = _mm512_permutex2var_epi64(q[2], first, q[3]);
    __m512i c = _mm512_permutex2var_epi64(q[0], second, q[1]), d = _mm512_permutex2var_epi64(q[2], second, q[3]);
    u[0] = _mm512_shuffle_i64x2(a, b, 0x44), u[1] = _mm512_shuffle_i64x2(a, b, 0xee);
    u[2] = _mm512_shuffle_i64x2(c, d, 0x44), u[3] = _mm512_shuffle_i64x2(c, d, 0xee);
}

template <Format> struct Wide;

template <> struct Wide<Format::Q4_0> : Shape32<18, 8> {
    static Scales scales(const uint8_t* p) { return first_halves18(p); }
    static __m512i quants(const uint8_t* p, int j) { return nibbles(p + 36 * j + 2, p + 36 * j + 20); }
    static void quads(const uint8_t* p, __m512i* u) { nibble_quads18(p, u); }
};

template <> struct Wide<Format::Q4_1> : Shape32<20, 0, true> {
    static Scales scales(const uint8_t* p) { return first_pairs<10>(p); }
    static __m512i quants(const uint8_t* p, int j) { return nibbles(p + 40 * j + 4, p + 40 * j + 24); }
    static void quads(const uint8_t* p, __m512i* u) { nibble_quads<10, 2>(p, u); }
};

inline __m512i with_fifth_bits(__m512i u, const uint8_t* p, const uint8_t* q) {
    __mmask64 bits = load<uint32_t>(p) | static_cast<uint64_t>(load<uint32_t>(q)) << 32;
    return _mm512_mask_add_epi8(u, bits, u, _mm512_set1_epi8(16));
}

template <> struct Wide<Format::Q5_0> : Shape32<22, 16> {
    static Scales scales(const uint8_t* p) { return first_halves<11>(p); }
    static void quads(const uint8_t* p, __m512i* u) { quads_of<Wide>(p, u); }
    static __m512i quants(const uint8_t* p, int j) {
        p += 44 * j;
        return with_fifth_bits(nibbles(p + 6, p + 28), p + 2, p + 24);
    }
};

template <> struct Wide<Format::Q5_1> : Shape32<24, 0, true> {
    static Scales scales(const uint8_t* p) { return first_pairs<12>(p); }
    static void quads(const uint8_t* p, __m512i* u) { quads_of<Wide>(p, u); }
    static __m512i quants(const uint8_t* p, int j) {
        p += 48 * j;
        return with_fifth_bits(nibbles(p + 8, p + 32), p + 4, p + 28);
    }
};

template <> struct Wide<Format::Q8_0> : Shape32<34, 128> {
    static Scales scales(const uint8_t* p) { return {twice(eight_halves<34>(p)), _mm512_setzero_ps()}; }
    static void quads(const uint8_t* p, __m512i* u) { quads_of<Wide>(p, u); }
    static __m512i quants(const uint8_t* p, int j) {
        __m512i q = _mm512_mask_broadcast_i64x4(_mm512_castsi256_si512(load32(p + 68 * j + 2)), 0xf0, load32(p + 68 * j + 36));
        return _mm512_xor_si512(q, _mm512_set1_epi8(-128));
    }
};

inline __m512i look_up(const uint8_t* table, __m512i u) { return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(load16(table)), u); }

template <> struct Wide<Format::IQ4_NL> : Shape32<18, 128> {
    static Scales scales(const uint8_t* p) { return first_halves18(p); }
    static void quads(const uint8_t* p, __m512i* u) {
        nibble_quads18(p, u);
        for (int k = 0; k < 4; ++k) u[k] = look_up(iq4_values, u[k]);
    }
    static __m512i quants(const uint8_t* p, int j) { return look_up(iq4_values, nibbles(p + 36 * j + 2, p + 36 * j + 20)); }
};

template <> struct Wide<Format::MXFP4> : Shape32<17, 12> {
    static Scales scales(const uint8_t* p) {
        alignas(32) float a[8];
        for (int i = 0; i < 8; ++i) a[i] = half_power_of_two(p[17 * i]);
        return {twice(_mm256_load_ps(a)), _mm512_setzero_ps()};
    }
    static void quads(const uint8_t* p, __m512i* u) { quads_of<Wide>(p, u); }
    static __m512i quants(const uint8_t* p, int j) { return look_up(mx_values, nibbles(p + 34 * j + 1, p + 34 * j + 18)); }
};

template <> struct Wide<Format::Q2_K> : Shape256<84, 16, 0, true> {
    static Scales scales(const uint8_t* p) {
        __m128i s = load16(p), low = _mm_set1_epi8(15);
        return {_mm512_mul_ps(bytes_to_floats(_mm_and_si128(s, low)), _mm512_set1_ps(half(p + 80))),
                _mm512_mul_ps(bytes_to_floats(_mm_and_si128(_mm_srli_epi16(s, 4), low)), _mm512_set1_ps(-half(p + 82)))};
    }
    static void quads(const uint8_t* p, __m512i* u) { quads_of<Wide>(p, u); }
    static __m512i quants(const uint8_t* p, int j) { return planes(p + 16 + j / 2 * 32, j % 2 * 4, j % 2 * 4 + 2, 3, 0); }
};

template <> struct Wide<Format::Q3_K> : Shape256<110, 16, 4> {
    static Scales scales(const uint8_t* p) {
        uint8_t s[16];
        q3_scales(p + 96, s);
        __m512i centred = _mm512_sub_epi32(_mm512_cvtepu8_epi32(load16(s)), _mm512_set1_epi32(32));
        return {_mm512_mul_ps(_mm512_cvtepi32_ps(centred), _mm512_set1_ps(half(p + 108))), _mm512_setzero_ps()};
    }
    static void quads(const uint8_t* p, __m512i* u) { quads_of<Wide>(p, u); }
    static __m512i quants(const uint8_t* p, int j) {
        return _mm512_or_si512(planes(p + 32 + j / 2 * 32, j % 2 * 4, j % 2 * 4 + 2, 3, 0), planes(p, 2 * j, 2 * j + 1, 1, 2));
    }
};

inline Scales wide_k_scales(const uint8_t* p) {
    SixBits six = six_bits(p + 4);
    __m512 s = bytes_to_floats(_mm_set_epi64x(static_cast<int64_t>(six.minima), static_cast<int64_t>(six.scales)));
    __m512 both = _mm512_castps128_ps512(_mm_cvtph_ps(_mm_cvtsi32_si128(load<int32_t>(p) ^ INT32_MIN)));  // d, -dmin
    const __m512i scales = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    const __m512i minima = _mm512_setr_epi32(8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15);
    return {_mm512_mul_ps(_mm512_permutexvar_ps(scales, s), _mm512_broadcastss_ps(_mm512_castps512_ps128(both))),
            _mm512_mul_ps(_mm512_permutexvar_ps(minima, s), _mm512_permutexvar_ps(_mm512_set1_epi32(1), both))};
}

// The same of R rows, for quads(): b holds zeros and then the minima, once each, and a of odd groups is `odd` times itself.
template <int R>
inline void k_row_scales(const uint8_t* const* p, float odd, Scales* s) {
    __m512i rows = _mm512_castsi128_si512(load16(p[0]));  // a lane each, whose words are d and dmin, then three of six bits each
    for (int r = 1; r < R; ++r) rows = _mm512_mask_broadcast_i32x4(rows, static_cast<__mmask16>(15 << 4 * r), load16(p[r]));
    const __m512i shifts = _mm512_set4_epi32(4, 0, 0, 0), low = _mm512_set4_epi32(0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f);
    const __m512i high = _mm512_set4_epi32(0x30303030, 0, 0x30303030, 0);
    __m512i nibbles = _mm512_srlv_epi32(_mm512_shuffle_epi32(rows, _MM_PERM_DCDB), shifts);
    __m512i pairs = _mm512_srli_epi32(_mm512_shuffle_epi32(rows, _MM_PERM_CCBB), 2);
    alignas(64) uint8_t bytes[64];
    _mm512_store_si512(bytes, _mm512_or_si512(_mm512_and_si512(nibbles, low), _mm512_and_si512(pairs, high)));
    const __m512i first = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
    __m128i halves = _mm_xor_si128(_mm512_castsi512_si128(_mm512_permutexvar_epi32(first, rows)), _mm_set1_epi32(INT32_MIN));
    __m256 units = _mm256_cvtph_ps(halves);  // d, -dmin of each row
    __m512 both = _mm512_insertf32x8(_mm512_castps256_ps512(units), _mm256_mul_ps(units, _mm256_set1_ps(odd)), 1);
    const __m512i which = _mm512_setr_epi32(0, 8, 0, 8, 0, 8, 0, 8, 1, 1, 1, 1, 1, 1, 1, 1);
    const __m512i doubled = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    for (int r = 0; r < R; ++r) {
        __m512 unit = _mm512_permutexvar_ps(_mm512_add_epi32(which, _mm512_set1_epi32(2 * r)), both);
        s[r].b = _mm512_mul_ps(bytes_to_floats(load16(bytes + 16 * r)), unit);
        s[r].a = _mm512_permutexvar_ps(doubled, s[r].b);
    }
}

template <class V>
constexpr bool minima_last = requires { V::odd; };

template <class V, int R>
inline void row_scales(const uint8_t* const* p, Scales* s) {
    if constexpr (minima_last<V>) k_row_scales<R>(p, V::odd, s);
    else
        for (int r = 0; r < R; ++r) s[r] = V::scales(p[r]);
}

// quads() leaves the high nibbles, which are the odd groups, where they are: 16 times as large, which `odd` takes back.
template <> struct Wide<Format::Q4_K> : Shape256<144, 32, 0, true> {
    static constexpr float odd = 1.0f / 16;
    static Scales scales(const uint8_t* p) { return wide_k_scales(p); }
    static __m512i quants(const uint8_t* p, int j) { return nibbles(p + 16 + 32 * j); }
    static void quads(const uint8_t* p, __m512i* u) {
        const __m512i pieces = _mm512_setr_epi64(0, 0, 4, 4, 8, 8, 12, 12), bits = _mm512_set4_epi32(-0x0f0f0f10, -0x0f0f0f10, 0x0f0f0f0f, 0x0f0f0f0f);
        __m512i a = load64(p + 16), b = load64(p + 80);
        for (int k = 0; k < 4; ++k)
            u[k] = _mm512_and_si512(_mm512_permutex2var_epi64(a, _mm512_add_epi64(pieces, _mm512_set1_epi64(k)), b), bits);
    }
};

template <> struct Wide<Format::Q5_K> : Shape256<176, 32, 0, true> {
    static constexpr float odd = 1;
    static Scales scales(const uint8_t* p) { return wide_k_scales(p); }
    static void quads(const uint8_t* p, __m512i* u) { quads_of<Wide>(p, u); }
    static __m512i quants(const uint8_t* p, int j) {
        return _mm512_or_si512(nibbles(p + 48 + 32 * j), planes(p + 16, 2 * j, 2 * j + 1, 1, 4));
    }
};

template <> struct Wide<Format::Q6_K> : Shape256<210, 16, 32> {
    static Scales scales(const uint8_t* p) {
        __m512 s = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load16(p + 192)));
        return {_mm512_mul_ps(s, _mm512_set1_ps(half(p + 208))), _mm512_setzero_ps()};
    }
    static void quads(const uint8_t* p, __m512i* u) {
        const __m512i lows = _mm512_setr_epi64(0, 4, 0, 4, 8, 12, 8, 12), highs = _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4);
        const __m512i nibble = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4), pair = _mm512_setr_epi64(60, 62, 0, 2, 60, 62, 0, 2);  // to bits 4, 5
        __m512i a = load64(p), b = load64(p + 64), c = load64(p + 128);
        for (int k = 0; k < 4; ++k) {
            __m512i step = _mm512_set1_epi64(k), low = _mm512_permutex2var_epi64(a, _mm512_add_epi64(lows, step), b);
            __m512i high = _mm512_rorv_epi64(_mm512_permutexvar_epi64(_mm512_add_epi64(highs, step), c), pair);
            low = _mm512_and_si512(_mm512_srlv_epi64(low, nibble), _mm512_set1_epi8(15));
            u[k] = _mm512_or_si512(low, _mm512_and_si512(high, _mm512_set1_epi8(48)));
        }
    }
    static __m512i quants(const uint8_t* p, int j) {
        __m512i low = _mm512_srli_epi64(load64(p + j / 2 * 64), j % 2 * 4);
        __m512i high = planes(p + 128 + j / 2 * 32, j % 2 * 4, j % 2 * 4 + 2, 3, 4);
        return _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi8(15)), high);
    }
};

template <> struct Wide<Format::IQ4_XS> : Shape256<136, 32, 128> {
    static Scales scales(const uint8_t* p) {
        const __m256i nibble = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28), pair = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
        __m256i low = _mm256_srlv_epi32(_mm256_set1_epi32(load<int32_t>(p + 4)), nibble);
        __m256i high = _mm256_srlv_epi32(_mm256_set1_epi32(load<uint16_t>(p + 2)), pair);
        __m256i s = _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)),
                                    _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(3)), 4));
        __m256 a = _mm256_cvtepi32_ps(_mm256_sub_epi32(s, _mm256_set1_epi32(32)));
        return {twice(_mm256_mul_ps(a, _mm256_set1_ps(half(p)))), _mm512_setzero_ps()};
    }
    static void quads(const uint8_t* p, __m512i* u) { quads_of<Wide>(p, u); }
    static __m512i quants(const uint8_t* p, int j) { return look_up(iq4_values, nibbles(p + 8 + 32 * j, p + 24 + 32 * j)); }
};

}  // namespace

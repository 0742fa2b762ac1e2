#pragma once

// One vocabulary of float vectors, so that a kernel is written once and compiled for each instruction set. Everything
// has internal linkage: each file that includes this gets its own copy, built with its own flags.

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16, registers = 32;
#elif defined(__AVX2__)
constexpr int lanes = 8, registers = 16;
#elif defined(__ARM_NEON)
constexpr int lanes = 4, registers = 32;
#else
constexpr int lanes = 4, registers = 16;
#endif

typedef float Floats __attribute__((vector_size(4 * lanes)));
typedef int32_t Ints __attribute__((vector_size(4 * lanes)));
typedef uint32_t Words __attribute__((vector_size(4 * lanes)));
typedef uint16_t Halves __attribute__((vector_size(2 * lanes)));

struct Bfloat {
    uint16_t bits;
};

#define INLINE __attribute__((always_inline)) inline

INLINE Floats zeros() { return Floats{}; }
INLINE Floats broadcast(float x) { return x - Floats{}; }

INLINE Floats fma(Floats a, Floats b, Floats c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
    return _mm256_fmadd_ps(a, b, c);
#elif defined(__ARM_NEON)
    return vfmaq_f32(c, a, b);
#else
    return a * b + c;
#endif
}

INLINE Floats larger(Floats a, Floats b) { return a > b ? a : b; }

// Spelled out, as GCC makes four shuffles of a conversion of 8 halves.
INLINE Floats widen(Halves bits) {
#if defined(__AVX512F__)
    Words words = (Words)_mm512_cvtepu16_epi32((__m256i)bits);
#elif defined(__AVX2__)
    Words words = (Words)_mm256_cvtepu16_epi32((__m128i)bits);
#else
    Words words = __builtin_convertvector(bits, Words);
#endif
    return (Floats)(words << 16);
}

INLINE Floats load(const float* p) {
    Floats v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

INLINE Floats load(const Bfloat* p) {
    Halves bits;
    std::memcpy(&bits, p, sizeof bits);
    return widen(bits);
}

// The first n < lanes numbers, then zeros; touches no byte behind them.
template <class T>
INLINE Floats load_part(const T* p, int64_t n) {
    T padded[lanes] = {};
    std::memcpy(padded, p, n * sizeof(T));
    return load(padded);
}

INLINE void store(float* p, Floats v) { std::memcpy(p, &v, sizeof v); }

// Lane i of the result: a[i] + a[i ^ Step] where i has no bit Step, else b[i] + b[i ^ Step].
template <int Step, class V, size_t... I>
INLINE V add_pairs(V a, V b, std::index_sequence<I...>) {
    constexpr Ints near = {static_cast<int32_t>(I & Step ? I + lanes : I)...};
    constexpr Ints far = {static_cast<int32_t>(I & Step ? (I ^ Step) + lanes : I ^ Step)...};
    return __builtin_shuffle(a, b, near) + __builtin_shuffle(a, b, far);
}

// Lane i of the result is the sum of v[i]'s lanes.
template <int Step = 1>
INLINE Floats sums(const Floats* v) {
    if constexpr (Step == lanes) {
        return *v;
    } else {
        return add_pairs<lanes / 2 / Step>(sums<2 * Step>(v), sums<2 * Step>(v + lanes / 2 / Step), std::make_index_sequence<lanes>{});
    }
}

INLINE float sum(Floats v) {
    float x[lanes];
    store(x, v);
    for (int n = lanes / 2; n; n /= 2)
        for (int i = 0; i < n; ++i) x[i] += x[i + n];
    return x[0];
}

INLINE float maximum(Floats v) {
    float x[lanes];
    store(x, v);
    for (int n = lanes / 2; n; n /= 2)
        for (int i = 0; i < n; ++i) x[i] = x[i] > x[i + n] ? x[i] : x[i + n];
    return x[0];
}

// e^x for x <= 0, within 1 unit in the last place; 0 below -87, a NaN stays one. x = n ln 2 + r with |r| <= ln 2 / 2,
// a Taylor polynomial of degree 7 for e^r, and n added to the exponent's bits: adding 1.5 * 2^23 leaves n in the low
// bits of the sum.
INLINE Floats exponential(Floats x) {
    const Floats shift = broadcast(12582912.0f);
    Floats bounded = larger(x, broadcast(-87.0f));
    Floats shifted = fma(bounded, broadcast(1.44269504f), shift);
    Floats n = shifted - shift;
    Floats r = fma(n, broadcast(-0.693145752f), bounded);
    r = fma(n, broadcast(-1.42860677e-6f), r);
    Floats p = broadcast(1.0f / 5040);
    for (float c : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) p = fma(p, r, broadcast(c));
    Ints bits = (Ints)p + ((Ints)shifted << 23);
    Ints kept = x < broadcast(-87.0f) ? Ints{} : bits;
    Floats y = (Floats)kept;
    return x == x ? y : x;
}

}  // namespace

#pragma once

#include "tile.h"

// A few tokens (decoding): each row of W is read once, front to back, and multiplied as it lies. A lane is a column.
namespace {

struct F32Numbers {
    static constexpr int bytes = 4;
    static constexpr bool scaled = false;
    static float one(const uint8_t* p) { return load<float>(p); }
    template <class S> static typename S::Floats several(const uint8_t* p) { return S::load(reinterpret_cast<const float*>(p)); }
};
struct F16Numbers {
    static constexpr int bytes = 2;
    static constexpr bool scaled = false;
    static float one(const uint8_t* p) { return load_half(p); }
    template <class S> static typename S::Floats several(const uint8_t* p) { return S::widen_half(p); }
};
struct BF16Numbers {
    static constexpr int bytes = 2;
    static constexpr bool scaled = false;
    static float one(const uint8_t* p) { return bits_to_float(static_cast<uint32_t>(load<uint16_t>(p)) << 16); }
    template <class S> static typename S::Floats several(const uint8_t* p) { return S::widen_bfloat(p); }
};
struct F8Numbers {
    static constexpr int bytes = 1;
    static constexpr bool scaled = true;
    static float one(const uint8_t* p) { return f8_to_float(*p); }
    template <class S> static typename S::Floats several(const uint8_t* p) { return S::widen_f8(p); }
};

// Sums over lanes, and over `zero` terms, are added once at the end of a row.
template <class S, class B, int N>
inline void block_rows(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, float* out, int64_t stride) {
    constexpr bool correct = !B::offset && !is_signed<S, B>;
    alignas(64) uint8_t u[chunk_cols], copy[B::chunk_bytes];
    alignas(64) float a[16], b[16];
    for (int64_t r = first; r < first + n; ++r) {
        typename S::Floats sum[N], rest[N];
        for (int i = 0; i < N; ++i) sum[i] = rest[i] = S::zero();
        for (int64_t c = 0; c < in.chunk_count(); ++c) {
            int64_t left = in.cols - c * chunk_cols;
            const uint8_t* p = whole_chunk<B>(w.row(r) + c * B::chunk_bytes, left, copy);
            B::scales(p, a, b);
            unpack_row<S, B>(p, u);
            for (int i = 0; i < N; ++i) {
                const Chunk& x = in.quantized(t + i)[c];
                sum[i] = S::template dot_chunk<B::group, is_signed<S, B>>(u, a, x, groups_of<B>(left), sum[i]);
                if constexpr (B::offset || correct)
                    for (int g = 0; g < chunk_cols / B::group; g += S::lanes)
                        rest[i] = S::fma(S::load((B::offset ? b : a) + g), S::load((B::group == 32 ? x.sum32 : x.sum16) + g), rest[i]);
            }
        }
        for (int i = 0; i < N; ++i) {
            float total = S::total(sum[i]), remainder = S::total(rest[i]);
            if constexpr (B::offset) total += remainder;
            if constexpr (correct) total -= static_cast<float>(B::zero) * remainder;
            out[(t + i) * stride + r - first] = total;
        }
    }
}

template <class S, class F, int N>
inline void float_segment(const uint8_t* p, const float* const* x, int64_t columns, typename S::Floats* total) {
    constexpr int L = S::lanes, U = 4;
    typename S::Floats sum[N][U];
    for (int i = 0; i < N; ++i)
        for (int j = 0; j < U; ++j) sum[i][j] = S::zero();
    int64_t k = 0;
    for (; k + L * U <= columns; k += L * U)
        for (int j = 0; j < U; ++j) {
            typename S::Floats v = F::template several<S>(p + (k + L * j) * F::bytes);
            for (int i = 0; i < N; ++i) sum[i][j] = S::fma(v, S::load(x[i] + k + L * j), sum[i][j]);
        }
    for (; k + L <= columns; k += L) {
        typename S::Floats v = F::template several<S>(p + k * F::bytes);
        for (int i = 0; i < N; ++i) sum[i][0] = S::fma(v, S::load(x[i] + k), sum[i][0]);
    }
    if (k < columns) {
        alignas(64) float wide[L] = {};
        for (int64_t j = k; j < columns; ++j) wide[j - k] = F::one(p + j * F::bytes);
        for (int i = 0; i < N; ++i) sum[i][0] = S::fma(S::load(wide), S::load_part(x[i] + k, columns - k), sum[i][0]);
    }
    for (int i = 0; i < N; ++i) {
        total[i] = sum[i][0];
        for (int j = 1; j < U; ++j) total[i] = S::add(total[i], sum[i][j]);
    }
}

template <class S, class F, int N>
inline void float_rows(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, float* out, int64_t stride) {
    int64_t step = F::scaled ? float_step : in.cols;
    for (int64_t r = first; r < first + n; ++r) {
        typename S::Floats sum[N];
        for (int i = 0; i < N; ++i) sum[i] = S::zero();
        for (int64_t c = 0; c < in.cols; c += step) {
            const float* x[N];
            typename S::Floats part[N];
            for (int i = 0; i < N; ++i) x[i] = in.floats(t + i) + c;
            float_segment<S, F, N>(w.row(r) + c * F::bytes, x, in.cols - c < step ? in.cols - c : step, part);
            for (int i = 0; i < N; ++i) sum[i] = F::scaled ? S::fma(part[i], S::broadcast(block_scale(w, r, c)), sum[i]) : part[i];
        }
        for (int i = 0; i < N; ++i) out[(t + i) * stride + r - first] = S::total(sum[i]);
    }
}

}  // namespace

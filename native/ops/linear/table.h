#pragma once

#include "planes.h"
#include "row.h"

// The functions of LinearTable over one instruction set's vectors.
namespace {

// Few tokens go row by row; from S::tile_from<B> or S::float_tile_from on (0: never) unpacking into tiles pays.
template <class S, class B>
void block_linear(const Weight& w, int64_t first, int64_t n, const Input& in, float* out, int64_t stride) {
    if constexpr (S::template tile_from<B> > 0)
        if (in.T >= S::template tile_from<B>) return S::template block_tiles<B>(w, first, n, in, out, stride);
    by_runs<S::row_tokens>(in.T, [&]<int N>(int64_t t) { S::template block_rows<B, N>(w, first, n, in, t, out, stride); });
}

template <class S, class F>
void float_linear(const Weight& w, int64_t first, int64_t n, const Input& in, float* out, int64_t stride) {
    if constexpr (S::float_tile_from > 0)
        if (in.T >= S::float_tile_from) return S::template float_tiles<F>(w, first, n, in, out, stride);
    by_runs<S::row_tokens>(in.T, [&]<int N>(int64_t t) { S::template float_rows<F, N>(w, first, n, in, t, out, stride); });
}

// One group's numbers, which share the scale a and the offset b.
template <class S, class B>
inline void widen_group(const uint8_t* u, float a, float b, float* __restrict out) {
    if constexpr (S::widens_bytes) return S::template widen_bytes<B>(u, a, b, out);
    for (int i = 0; i < B::group; ++i) {
        float value = a * static_cast<float>(u[i] - B::zero);
        if constexpr (B::offset) value += b;
        out[i] = value;
    }
}

template <class S, class B>
inline void decode_chunk(const uint8_t* p, float* __restrict out) {
    alignas(64) uint8_t u[chunk_cols];
    alignas(64) float a[16], b[16];
    B::scales(p, a, b);
    B::quants(p, u);
    for (int g = 0; g < chunk_cols / B::group; ++g) widen_group<S, B>(u + g * B::group, a[g], b[g], out + g * B::group);
}

template <class S, class B>
void decode_blocks(const uint8_t* p, int64_t cols, float* out) {
    int64_t c = 0;
    for (; c + chunk_cols <= cols; c += chunk_cols, p += B::chunk_bytes) decode_chunk<S, B>(p, out + c);
    if (c == cols) return;
    alignas(64) uint8_t copy[B::chunk_bytes];
    alignas(64) float last[chunk_cols];
    decode_chunk<S, B>(whole_chunk<B>(p, cols - c, copy), last);
    std::memcpy(out + c, last, sizeof(float) * (cols - c));
}

template <class S, class F>
void decode_floats(const Weight& w, int64_t r, float* out) {
    for (int64_t c = 0; c < w.cols; c += float_step)
        widen_row<S, F>(w.row(r) + c * F::bytes, w.cols - c < float_step ? w.cols - c : float_step, block_scale(w, r, c), out + c);
}

// Only kernels with groups in lanes read these.
template <class Case>
inline void by_format_in_lanes(Format format, const Case& f) {
    switch (format) {
        case Format::Q4_0_LANES: return f.template blocks<Format::Q4_0_LANES>();
        case Format::Q4_1_LANES: return f.template blocks<Format::Q4_1_LANES>();
        case Format::Q4_K_LANES: return f.template blocks<Format::Q4_K_LANES>();
        case Format::Q6_K_LANES: return f.template blocks<Format::Q6_K_LANES>();
        default: return;
    }
}

// Calls f with the description of w's format: f.template blocks<B>() or f.template floats<F>().
template <class Case>
inline void by_format(Format format, const Case& f) {
    switch (format) {
        case Format::F32: return f.template floats<F32Numbers>();
        case Format::F16: return f.template floats<F16Numbers>();
        case Format::BF16: return f.template floats<BF16Numbers>();
        case Format::F8_E4M3: return f.template floats<F8Numbers>();
        case Format::Q4_0: return f.template blocks<Format::Q4_0>();
        case Format::Q4_1: return f.template blocks<Format::Q4_1>();
        case Format::Q5_0: return f.template blocks<Format::Q5_0>();
        case Format::Q5_1: return f.template blocks<Format::Q5_1>();
        case Format::Q8_0: return f.template blocks<Format::Q8_0>();
        case Format::Q2_K: return f.template blocks<Format::Q2_K>();
        case Format::Q3_K: return f.template blocks<Format::Q3_K>();
        case Format::Q4_K: return f.template blocks<Format::Q4_K>();
        case Format::Q5_K: return f.template blocks<Format::Q5_K>();
        case Format::Q6_K: return f.template blocks<Format::Q6_K>();
        case Format::IQ4_NL: return f.template blocks<Format::IQ4_NL>();
        case Format::IQ4_XS: return f.template blocks<Format::IQ4_XS>();
        case Format::MXFP4: return f.template blocks<Format::MXFP4>();
        case Format::D4: return f.template blocks<Format::D4>();
        case Format::D8: return f.template blocks<Format::D8>();
        default:
            if constexpr (Case::in_lanes) return by_format_in_lanes(format, f);
    }
}

template <class S>
struct Panel {
    static constexpr bool in_lanes = S::groups_in_lanes;
    const Weight& w;
    int64_t first, n;
    const Input& in;
    float* out;
    int64_t stride;
    template <Format F> void blocks() const { block_linear<S, typename S::template Blocks<F>>(w, first, n, in, out, stride); }
    template <class F> void floats() const { float_linear<S, F>(w, first, n, in, out, stride); }
};

template <class S>
void panel(const Weight& w, int64_t first, int64_t n, const Input& in, float* out, int64_t stride) {
    by_format(w.format, Panel<S>{w, first, n, in, out, stride});
}

template <class S>
struct Decode {
    static constexpr bool in_lanes = S::groups_in_lanes;
    const Weight& w;
    int64_t row;
    float* out;
    template <Format F> void blocks() const { decode_blocks<S, typename S::template Blocks<F>>(w.row(row), w.cols, out); }
    template <class F> void floats() const { decode_floats<S, F>(w, row, out); }
};

template <class S>
void decode(const Weight& w, int64_t r, float* out) {
    by_format(w.format, Decode<S>{w, r, out});
}

// The largest magnitude, compared as integers so that a NaN is the largest of all.
inline float magnitude(const float* x) {
    uint32_t most = 0;
    for (int i = 0; i < 32; ++i) {
        uint32_t bits;
        std::memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7fffffffu;
        most = bits > most ? bits : most;
    }
    return bits_to_float(most);
}

// Where the first half of a group has its scale and sum, and the second: side by side, or in a vector each, group g in lane g.
template <class S>
constexpr int place_of_half(int g, int half) { return S::groups_in_lanes ? 8 * half + g : 2 * g + half; }

// The scale of group g, and what its two halves' quants add up to.
template <class S>
inline void put_sums(int32_t low, int32_t high, float scale, int g, Chunk* chunk) {
    constexpr int (*place)(int, int) = place_of_half<S>;
    chunk->scale[place(g, 0)] = chunk->scale[place(g, 1)] = scale;
    chunk->minus16[place(g, 0)] = -low, chunk->minus16[place(g, 1)] = -high, chunk->minus32[g] = -(low + high);
    chunk->sum16[2 * g] = scale * static_cast<float>(low), chunk->sum16[2 * g + 1] = scale * static_cast<float>(high);
    chunk->sum32[g] = scale * static_cast<float>(low + high);
}

template <class S>
void quantize_group(const float* x, int g, Chunk* chunk) {
    float most = magnitude(x), inverse = most > 1e-30f ? 127.0f / most : 0.0f, scale = most / 127.0f;
    int8_t q[32];
    for (int i = 0; i < 32; ++i) {
        float v = __builtin_nearbyintf(x[i] * inverse);
        v = v < 127.0f ? v : 127.0f;
        q[i] = static_cast<int8_t>(v > -127.0f ? v : -127.0f);
    }
    for (int i = 0; i < 32; i += 4) std::memcpy(chunk->q + S::place(32 * g + i), q + i, 4);
    int32_t low = 0, high = 0;
    for (int i = 0; i < 16; ++i) low += q[i], high += q[16 + i];
    put_sums<S>(low, high, scale, g, chunk);
}

// All eight groups.
template <class S>
void quantize_chunk(const float* x, Chunk* chunk) {
    for (int g = 0; g < 8; ++g) quantize_group<S>(x + 32 * g, g, chunk);
}

// Group g of `groups` that the chunk has. What follows them is zeros, or the same groups again where S joins rows' ends.
template <class S>
void put_group(const float* x, int g, int groups, Chunk* chunk) {
    static constexpr float zeros[32] = {};
    if (groups == 8) return quantize_group<S>(x, g, chunk);
    if (S::groups_in_lanes && 8 % groups == 0)
        for (int at = g; at < 8; at += groups) quantize_group<S>(x, at, chunk);
    else {
        quantize_group<S>(x, g, chunk);
        for (int at = groups; g + 1 == groups && at < 8; ++at) quantize_group<S>(zeros, at, chunk);
    }
}

template <class S>
void prepare_chunk(const float* x, int64_t n, Chunk* chunk) {
    if (n >= chunk_cols) return quantize_chunk<S>(x, chunk);
    const int groups = static_cast<int>((n + 31) / 32);
    for (int g = 0; g < groups; ++g) {
        float padded[32] = {};
        int64_t left = n - 32 * g;
        if (left < 32) std::memcpy(padded, x + 32 * g, left * sizeof(float));
        put_group<S>(left < 32 ? padded : x + 32 * g, g, groups, chunk);
    }
}

// exp to about one unit in the last place: 2^n * e^r with |r| <= ln(2) / 2 and a polynomial of degree 6 for e^r.
inline float exponential(float x) {
    x = x < 88.0f ? x : 88.0f;
    x = x > -87.0f ? x : -87.0f;
    float n = __builtin_nearbyintf(x * 1.44269504f);
    float r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
    float p = ((((r * (1.0f / 720) + 1.0f / 120) * r + 1.0f / 24) * r + 1.0f / 6) * r + 0.5f) * r + 1.0f;
    p = p * r + 1.0f;
    return p * bits_to_float(static_cast<uint32_t>(static_cast<int32_t>(n) + 127) << 23);
}

void swish(const float* g, const float* u, float* h, int64_t n) {
    for (int64_t i = 0; i < n; ++i) h[i] = g[i] / (1.0f + exponential(-g[i])) * u[i];
}

}  // namespace

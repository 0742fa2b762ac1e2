#include "isa.h"
#include "table.h"

// The specification: one lane, one group after another, no tiles.
struct Scalar {
    using Floats = float;
    static constexpr int lanes = 1, row_tokens = 4, signed_from = 1;
    static constexpr bool groups_in_lanes = false, widens_bytes = false;
    static constexpr int64_t float_tile_from = 0;
    template <class> static constexpr int64_t tile_from = 0;
    template <Format F> using Blocks = ::Blocks<F>;
    static constexpr int place(int column) { return column; }

    static float zero() { return 0; }
    static float load(const float* p) { return *p; }
    static float load_part(const float* p, int64_t) { return *p; }
    static void store(float* p, float v) { *p = v; }
    static float broadcast(float v) { return v; }
    static float add(float a, float b) { return a + b; }
    static float fma(float a, float b, float c) { return a * b + c; }
    static float total(float v) { return v; }
    static float widen_half(const uint8_t* p) { return load_half(p); }
    static float widen_bfloat(const uint8_t* p) { return BF16Numbers::one(p); }
    static float widen_f8(const uint8_t* p) { return f8_to_float(*p); }

    template <int Group, bool Signed>
    static float dot_chunk(const uint8_t* u, const float* a, const Chunk& x, int groups, float sum) {
        for (int g = 0; g < groups; ++g) {
            int32_t dot = 0;
            for (int i = g * Group; i < (g + 1) * Group; ++i) dot += (Signed ? static_cast<int8_t>(u[i]) : u[i]) * x.q[i];
            sum += a[g] * x.scale[g * Group / 16] * static_cast<float>(dot);
        }
        return sum;
    }
    template <class F, int N>
    static void float_rows(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, float* out, int64_t stride) {
        ::float_rows<Scalar, F, N>(w, first, n, in, t, out, stride);
    }
    template <class B, int N>
    static void block_rows(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, float* out, int64_t stride) {
        ::block_rows<Scalar, B, N>(w, first, n, in, t, out, stride);
    }
};

const LinearTable linear_scalar = {prepare_chunk<Scalar>, put_group<Scalar>, panel<Scalar>, decode<Scalar>, swish};

const LinearTable& linear_table() {
#if defined(__x86_64__)
    return choose(&linear_scalar, static_cast<const LinearTable*>(nullptr), &linear_avx2, &linear_avx512);
#elif defined(__aarch64__)
    return choose(&linear_scalar, &linear_neon, static_cast<const LinearTable*>(nullptr), static_cast<const LinearTable*>(nullptr));
#else
    return linear_scalar;
#endif
}

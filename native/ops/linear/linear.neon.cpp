#include <arm_neon.h>

#include "table.h"

// sdot: 16 signed byte products a vector, four to a lane. Quants are made signed first (u - zero fits every format;
// those with an offset stay below 32), so no correction for `zero` is left. 32 registers: 2 vectors of rows by 6 tokens.
struct Neon {
    using Floats = float32x4_t;
    using Ints = int32x4_t;
    static constexpr int lanes = 4, panels = 4, tokens = 2, float_tokens = 5, row_tokens = 4, signed_from = 1;
    static constexpr bool groups_in_lanes = false, widens_bytes = false;
    static constexpr int64_t float_tile_from = 6;
    template <class> static constexpr int64_t tile_from = 6;
    template <Format F> using Blocks = ::Blocks<F>;
    static constexpr int place(int column) { return column; }

    static Floats zero() { return vdupq_n_f32(0); }
    static Floats load(const float* p) { return vld1q_f32(p); }
    static void store(float* p, Floats v) { vst1q_f32(p, v); }
    static Floats load_part(const float* p, int64_t n) {
        if (n >= lanes) return load(p);
        float part[lanes] = {};
        for (int i = 0; i < n; ++i) part[i] = p[i];
        return load(part);
    }
    static void store_part(float* p, Floats v, int64_t n) {
        if (n >= lanes) return store(p, v);
        float part[lanes];
        store(part, v);
        for (int i = 0; i < n; ++i) p[i] = part[i];
    }
    static Floats broadcast(float v) { return vdupq_n_f32(v); }
    static Floats add(Floats a, Floats b) { return vaddq_f32(a, b); }
    static Floats mul(Floats a, Floats b) { return vmulq_f32(a, b); }
    static Floats fma(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
    static float total(Floats v) { return vaddvq_f32(v); }
    static Floats widen_half(const uint8_t* p) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p))); }
    static Floats widen_bfloat(const uint8_t* p) { return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16)); }
    static Floats widen_f8(const uint8_t* p) {
        float wide[lanes];
        for (int i = 0; i < lanes; ++i) wide[i] = f8_to_float(p[i]);
        return load(wide);
    }

    static Ints broadcast(int32_t v) { return vdupq_n_s32(v); }
    static Ints broadcast4(const int8_t* p) { return vdupq_n_s32(::load<int32_t>(reinterpret_cast<const uint8_t*>(p))); }
    static Ints load_bytes(const void* p) { return vreinterpretq_s32_s8(vld1q_s8(static_cast<const int8_t*>(p))); }
    static Floats to_float(Ints v) { return vcvtq_f32_s32(v); }
    template <bool>
    static Ints dot(Ints sum, Ints w, Ints x) {
        return vdotq_s32(sum, vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(x));
    }
    static void transpose(const Word* rows, int64_t stride, Word* out, int64_t out_stride) {
        for (int k = 0; k < lanes; ++k)
            for (int r = 0; r < lanes; ++r) out[k * out_stride + r] = rows[r * stride + k];
    }

    template <int Group, bool Signed>
    static Floats dot_chunk(const uint8_t* u, const float* a, const Chunk& x, int groups, Floats sum) {
        for (int g = 0; g < groups * Group / 16; ++g) {
            Ints dots = dot<Signed>(vdupq_n_s32(0), load_bytes(u + 16 * g), load_bytes(x.q + 16 * g));
            sum = fma(to_float(dots), broadcast(a[g * 16 / Group] * x.scale[g]), sum);
        }
        return sum;
    }
    template <class B>
    static void block_tiles(const Weight& w, int64_t first, int64_t n, const Input& in, float* out, int64_t stride) {
        by_tiles<Neon>(n, [&](int64_t r, int64_t count) { block_panel<Neon, B>(w, first + r, count, in, out + r, stride); });
    }
    template <class F>
    static void float_tiles(const Weight& w, int64_t first, int64_t n, const Input& in, float* out, int64_t stride) {
        by_tiles<Neon>(n, [&](int64_t r, int64_t count) { float_panel<Neon, F>(w, first + r, count, in, out + r, stride); });
    }
    template <class F, int N>
    static void float_rows(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, float* out, int64_t stride) {
        ::float_rows<Neon, F, N>(w, first, n, in, t, out, stride);
    }
    template <class B, int N>
    static void block_rows(const Weight& w, int64_t first, int64_t n, const Input& in, int64_t t, float* out, int64_t stride) {
        ::block_rows<Neon, B, N>(w, first, n, in, t, out, stride);
    }
};

extern const LinearTable linear_neon;
const LinearTable linear_neon = {prepare_chunk<Neon>, put_group<Neon>, panel<Neon>, decode<Neon>, swish};

#pragma once

#include "blocks.h"

// divebell's own formats. A chunk of 256 columns, or of the 32 G that are left at the end of a row, is
//   planes   8 G bytes each: byte 8 g + i of plane k belongs to group g of 32 columns; D8: column 8 k + i as int8;
//            D4: low nibble column 16 k + i, high nibble column 16 k + 8 + i, levels of IQ4_NL
//   half     binary16
//   scales   G bytes, one for each group: D4 int8, D8 uint8
// and a value is half * 2^-14 * scale * level. 8 columns of each group side by side are what 512-bit dot products want
// (linear.avx512.cpp): nothing has to be moved after loading.
namespace {

constexpr float own_unit = 0x1p-14f;  // keeps half near the largest number, in the middle of binary16's range

template <int Planes>
struct PlanesShape {
    static constexpr int columns = 32, planes = 64 * Planes, chunk_bytes = planes + 10, group = 32, zero = 128;
    static constexpr bool offset = false;

    static float unit(const uint8_t* p) { return load_half(p + planes) * own_unit; }
    // A chunk of fewer groups as one of 8, the rest zeros.
    static void spread(const uint8_t* p, int64_t groups, uint8_t* copy) {
        std::memset(copy, 0, chunk_bytes);
        for (int k = 0; k < Planes; ++k, p += 8 * groups) std::memcpy(copy + 64 * k, p, 8 * groups);
        std::memcpy(copy + planes, p, 2 + groups);
    }
};

template <> struct Blocks<Format::D4> : PlanesShape<2> {
    static void scales(const uint8_t* p, float* a, float*) {
        for (int g = 0; g < 8; ++g) a[g] = unit(p) * static_cast<float>(static_cast<int8_t>(p[planes + 2 + g]));
    }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int g = 0; g < 8; ++g, u += 32)
            for (int k = 0; k < 2; ++k)
                for (int i = 0; i < 8; ++i) {
                    uint8_t both = p[64 * k + 8 * g + i];
                    u[16 * k + i] = iq4_values[both & 15], u[16 * k + 8 + i] = iq4_values[both >> 4];
                }
    }
};

template <> struct Blocks<Format::D8> : PlanesShape<4> {
    static void scales(const uint8_t* p, float* a, float*) {
        for (int g = 0; g < 8; ++g) a[g] = unit(p) * static_cast<float>(p[planes + 2 + g]);
    }
    static void quants(const uint8_t* p, uint8_t* u) {
        for (int g = 0; g < 8; ++g)
            for (int k = 0; k < 4; ++k)
                for (int i = 0; i < 8; ++i) u[32 * g + 8 * k + i] = p[64 * k + 8 * g + i] ^ 0x80;
    }
};

}  // namespace

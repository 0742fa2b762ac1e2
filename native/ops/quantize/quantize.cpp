#include "ops/quantize/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "half.h"

namespace {

constexpr int columns = 32, groups = 8;
constexpr float unit = 0x1p-14f;

struct Group {
    float x[columns], weight[columns], most = 0;
    int8_t level[columns];

    void take(const float* numbers, const float* importance) {
        for (int i = 0; i < columns; ++i) {
            x[i] = numbers[i], weight[i] = importance ? importance[i] : 1.0f;
            most = std::max(most, std::fabs(x[i]));
        }
    }
};

// The sixteen levels, and for each whole number from -128 to 127 the index of the nearest.
struct Levels4 {
    static constexpr int8_t values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    static constexpr int most_scale = 127, largest = 127, least_scale = -127;
    uint8_t index[256];
    float nearest[256];

    Levels4() {
        for (int v = -128; v < 128; ++v) {
            int best = 0;
            for (int i = 1; i < 16; ++i)
                if (std::abs(values[i] - v) < std::abs(values[best] - v)) best = i;
            index[v + 128] = static_cast<uint8_t>(best), nearest[v + 128] = values[best];
        }
    }
    void assign(const float* x, float inverse, float* level) const {
        int place[columns];
        for (int i = 0; i < columns; ++i) {
            float y = x[i] * inverse;
            y = y < 127.0f ? y : 127.0f;
            place[i] = static_cast<int>((y > -127.0f ? y : -127.0f) + 128.5f);
        }
        for (int i = 0; i < columns; ++i) level[i] = nearest[place[i]];
    }
};

struct Levels8 {
    static constexpr int most_scale = 255, largest = 127, least_scale = 1;
    void assign(const float* x, float inverse, float* level) const {
        for (int i = 0; i < columns; ++i) {
            float y = x[i] * inverse;
            y = y < 127.0f ? y : 127.0f;
            level[i] = static_cast<float>(static_cast<int>((y > -127.0f ? y : -127.0f) + 128.5f) - 128);
        }
    }
};

const Levels4 levels4;
const Levels8 levels8;

// With levels given, the best scale is sum(w x l) / sum(w l l), and takes sum(w x l)^2 / sum(w l l) off the error.
struct Fit {
    float gain = 0, scale = 0;
};

Fit fit(const Group& group, const float* level) {
    float product = 0, square = 0;
    for (int i = 0; i < columns; ++i) {
        float weighted = group.weight[i] * level[i];
        product += weighted * group.x[i], square += weighted * level[i];
    }
    return square > 0 ? Fit{product * product / square, product / square} : Fit{};
}

// A scale of either sign: the largest number lies near the lowest level, or near the highest.
float best_scale(const Group& group) {
    if (!(group.most > 0)) return 0;
    Fit best;
    float level[columns];
    for (int step = 0; step < 16; ++step)
        for (float sign : {-1.0f, 1.0f}) {
            levels4.assign(group.x, sign * (84.0f + 4.0f * static_cast<float>(step)) / group.most, level);
            Fit now = fit(group, level);
            if (now.gain > best.gain) best = now;
        }
    return best.scale;
}

// The scale from `low` to `high`, in units of `a`, with the least error; the group's levels are left at it.
template <class Levels>
int best_of(const Levels& levels, Group& group, float a, int low, int high) {
    float level[columns], least = INFINITY;
    int best = 0;
    std::memset(group.level, 0, sizeof group.level);
    for (int scale = std::max(low, Levels::least_scale); scale <= std::min(high, Levels::most_scale); ++scale) {
        float step = a * static_cast<float>(scale), error = 0;
        levels.assign(group.x, scale ? 1.0f / step : 0.0f, level);
        for (int i = 0; i < columns; ++i) {
            float difference = group.x[i] - step * level[i];
            error += group.weight[i] * difference * difference;
        }
        if (error < least) {
            least = error, best = scale;
            for (int i = 0; i < columns; ++i) group.level[i] = static_cast<int8_t>(level[i]);
        }
    }
    return best;
}

// Writes half and scales behind the planes, and leaves each group's levels at its scale. False beyond binary16.
bool scale4(Group* group, int count, uint8_t* out) {
    float wanted[groups], most = 0;
    for (int g = 0; g < count; ++g) wanted[g] = best_scale(group[g]), most = std::max(most, std::fabs(wanted[g]));
    float value = most / (unit * Levels4::most_scale);
    if (!(value <= most_half)) return false;
    uint16_t half = half_of(value);
    float a = half_to_float(half) * unit, inverse = a > 0 ? 1.0f / a : 0.0f;
    std::memcpy(out, &half, sizeof half);
    for (int g = 0; g < count; ++g) {
        int middle = static_cast<int>(std::nearbyint(wanted[g] * inverse));
        out[2 + g] = static_cast<uint8_t>(a > 0 ? best_of(levels4, group[g], a, middle - 3, middle + 3) : 0);
        if (!(a > 0)) std::memset(group[g].level, 1, columns);
    }
    return true;
}

bool scale8(Group* group, int count, uint8_t* out) {
    constexpr int headroom = 16;
    float most = 0;
    for (int g = 0; g < count; ++g) most = std::max(most, group[g].most);
    float value = most / (unit * Levels8::largest * (Levels8::most_scale - headroom));
    if (!(value <= most_half)) return false;
    uint16_t half = half_of(value);
    float a = half_to_float(half) * unit, inverse = a > 0 ? 1.0f / a : 0.0f;
    std::memcpy(out, &half, sizeof half);
    for (int g = 0; g < count; ++g) {
        int least = static_cast<int>(std::ceil(group[g].most / Levels8::largest * inverse));
        out[2 + g] = static_cast<uint8_t>(a > 0 ? best_of(levels8, group[g], a, least - 1, least + headroom) : 0);
        if (!(a > 0)) std::memset(group[g].level, 0, columns);
    }
    return true;
}

bool chunk4(Group* group, int count, uint8_t* out) {
    if (!scale4(group, count, out + 16 * count)) return false;
    for (int k = 0; k < 2; ++k)
        for (int g = 0; g < count; ++g)
            for (int i = 0; i < 8; ++i) {
                const int8_t* level = group[g].level + 16 * k + i;
                out[8 * (k * count + g) + i] = static_cast<uint8_t>(levels4.index[level[0] + 128] | levels4.index[level[8] + 128] << 4);
            }
    return true;
}

bool chunk8(Group* group, int count, uint8_t* out) {
    if (!scale8(group, count, out + 32 * count)) return false;
    for (int k = 0; k < 4; ++k)
        for (int g = 0; g < count; ++g) std::memcpy(out + 8 * (k * count + g), group[g].level + 8 * k, 8);
    return true;
}

}  // namespace

bool quantize_row(Format format, const float* x, const float* importance, int64_t cols, uint8_t* out) {
    for (int64_t c = 0; c < cols; c += columns * groups) {
        Group group[groups];
        int count = static_cast<int>(std::min<int64_t>(groups, (cols - c) / columns));
        for (int g = 0; g < count; ++g) {
            int64_t at = c + columns * g;
            group[g].take(x + at, importance ? importance + at : nullptr);
        }
        if (!(format == Format::D4 ? chunk4 : chunk8)(group, count, out)) return false;
        out += (format == Format::D4 ? 17 : 33) * count + 2;
    }
    return true;
}

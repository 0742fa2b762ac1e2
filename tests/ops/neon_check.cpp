// Holds the NEON kernels of the linear family and of sampling against the scalar ones; run under an emulator by test_neon.py.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "ops/linear/linear.h"
#include "ops/sample/sample.h"

struct Layout {
    Format format;
    int columns, bytes, chunk = 0;
};

const Layout layouts[] = {
    {Format::F32, 1, 4}, {Format::F16, 1, 2}, {Format::BF16, 1, 2}, {Format::F8_E4M3, 1, 1}, {Format::Q4_0, 32, 18},
    {Format::Q4_1, 32, 20}, {Format::Q5_0, 32, 22}, {Format::Q5_1, 32, 24}, {Format::Q8_0, 32, 34}, {Format::IQ4_NL, 32, 18},
    {Format::MXFP4, 32, 17}, {Format::Q2_K, 256, 84}, {Format::Q3_K, 256, 110}, {Format::Q4_K, 256, 144},
    {Format::Q5_K, 256, 176}, {Format::Q6_K, 256, 210}, {Format::IQ4_XS, 256, 136}, {Format::D4, 32, 17, 2},
    {Format::D8, 32, 33, 2},
};

float random_float() { return static_cast<float>(std::rand() % 2001 - 1000) / 1000.0f; }

// Bytes below 64 make every half, bfloat and float code a finite one.
std::vector<uint8_t> random_rows(const Layout& layout, int64_t bytes) {
    std::vector<uint8_t> data(bytes);
    for (auto& byte : data) byte = static_cast<uint8_t>(std::rand() % 64);
    if (layout.format == Format::F32)
        for (int64_t i = 0; i < bytes; i += 4) *reinterpret_cast<float*>(&data[i]) = random_float();
    return data;
}

double worst(const std::vector<float>& one, const std::vector<float>& other) {
    double most = 0, difference = 0;
    for (size_t i = 0; i < one.size(); ++i) {
        most = std::fmax(most, std::fabs(one[i]));
        difference = std::isfinite(other[i]) ? std::fmax(difference, std::fabs(one[i] - other[i])) : INFINITY;
    }
    return difference / (most + 1e-30);
}

bool agree(const Layout& layout, int64_t cols, int64_t T) {
    constexpr int64_t rows = 29;
    int64_t chunks = (cols + 255) / 256, row_bytes = cols / layout.columns * layout.bytes + chunks * layout.chunk;
    std::vector<uint8_t> data = random_rows(layout, rows * row_bytes);
    Weight w{layout.format, data.data(), rows, cols, row_bytes};
    std::vector<float> x(T * cols), y[2], decoded[2];
    for (auto& v : x) v = random_float();
    const LinearTable* tables[] = {&linear_scalar, &linear_neon};
    for (int i = 0; i < 2; ++i) {
        std::vector<Chunk> prepared(T * chunks);
        for (int64_t c = 0; c < T * chunks; ++c)
            tables[i]->prepare(&x[c / chunks * cols + c % chunks * 256], cols - c % chunks * 256, &prepared[c]);
        y[i].resize(T * rows), decoded[i].resize(rows * cols);
        tables[i]->panel(w, 0, rows, Input{x.data(), prepared.data(), cols, T}, y[i].data(), rows);
        for (int64_t r = 0; r < rows; ++r) tables[i]->decode(w, r, &decoded[i][r * cols]);
        tables[i]->swish(&x[0], &x[0], &x[0], 0);
    }
    double difference = worst(y[0], y[1]);
    bool same = difference < 1e-5 && decoded[0] == decoded[1];
    if (!same) std::printf("format %d, %d columns, %d tokens: %g\n", static_cast<int>(layout.format), int(cols), int(T), difference);
    return same;
}

bool same_sums(int64_t n) {
    std::vector<float> x(n), most[2], sums[2];
    for (auto& v : x) v = 20 * random_float();
    const SampleTable* tables[] = {&sample_scalar, &sample_neon};
    for (int i = 0; i < 2; ++i) {
        most[i].resize((n + block_numbers - 1) / block_numbers), sums[i].resize(most[i].size());
        tables[i]->maxima(x.data(), n, most[i].data());
        tables[i]->sums(x.data(), n, 0.7f, most[i].data(), sums[i].data());
    }
    bool same = most[0] == most[1] && worst(sums[0], sums[1]) < 1e-5;
    if (!same) std::printf("sums of %d numbers\n", int(n));
    return same;
}

int main() {
    bool all = true;
    for (int64_t n : {1, 255, 256, 1027}) all &= same_sums(n);
    for (const Layout& layout : layouts)
        for (int64_t T : {1, 3, 4, 5, 6, 13})
            for (int64_t cols : {256, 1280}) all &= agree(layout, cols + (layout.columns == 1 ? 7 : layout.columns % 256), T);
    return all ? 0 : 1;
}

#include "multiply.h"

#include <algorithm>

#include "ops/linear/moving.h"
#include "pool.h"
#include "workspace.h"

namespace {

constexpr int64_t token_block = 512;         // whose activations are rounded at a time
constexpr int64_t inline_work = 48 << 10;    // weights' bytes times tokens below which a fork costs more than it saves

int64_t panels_of(const Weight& w) { return (w.rows + panel_rows - 1) / panel_rows; }

// Sums are kept side by side while they grow: rows of y are often a power of two apart, where few of them fit the caches.
void multiply_panel(const Product& product, int64_t panel, bool last, Input in, int64_t token) {
    static thread_local Workspace workspace;
    const Weight& w = *product.w;
    int64_t first = panel * panel_rows, n = std::min<int64_t>(panel_rows, w.rows - first);
    in.next = last ? w.row(first) : nullptr;
    float* sums = workspace.get<float>(in.T * panel_rows);
    panel_times(w, first, n, in, sums, panel_rows);
    for (int64_t t = 0; t < in.T; ++t) {
        float* out = product.y + (token + t) * w.rows + first;
        for (int64_t r = 0; r < n; ++r) out[r] = sums[t * panel_rows + r] + (product.bias ? product.bias[first + r] : 0.0f);
    }
}

// Panels first .. last of a product, all of them for some tokens after the other.
void multiply_some(const Product& product, int64_t first, int64_t last, const Input& in, int64_t token) {
    const int64_t block = tokens_of_block(in.cols, in.tiles);
    fetch_first(*product.w, first * panel_rows);
    for (int64_t t = 0; t < in.T; t += block)
        for (int64_t p = first; p <= last; ++p) multiply_panel(product, p, p == last, in.part(t, std::min(block, in.T - t)), token + t);
}

// Panels of all products in one line, so that one counter hands them out.
void multiply_panels(const std::vector<Product>& products, int64_t begin, int64_t end, const Input& in, int64_t token) {
    for (const Product& product : products) {
        int64_t panels = panels_of(*product.w), first = std::max<int64_t>(begin, 0), last = std::min(end, panels) - 1;
        if (first <= last) multiply_some(product, first, last, in, token);
        begin -= panels, end -= panels;
    }
}

// Which node of memory has a panel of the line.
int owner(const std::vector<Product>& products, int64_t panel) {
    for (const Product& product : products) {
        const int64_t panels = panels_of(*product.w);
        if (panel < panels) return nodes::owner(panel, panels);
        panel -= panels;
    }
    return 0;
}

void multiply_block(const std::vector<Product>& products, const Input& in, int64_t token) {
    int64_t panels = 0, bytes = 0;
    for (const Product& product : products) panels += panels_of(*product.w), bytes += product.w->rows * product.w->row_bytes;
    if (bytes * in.T <= inline_work) return multiply_panels(products, 0, panels, in, token);
    pool::Pieces pieces(panels, panels_of_piece(panels, bytes), 1, [&](int64_t panel) { return owner(products, panel); });
    pool::run([&](int, int) {
        for (int64_t begin, end; pieces.next(begin, end);) multiply_panels(products, begin, end, in, token);
    });
}

// Chunks begin .. end of all rows' in a line.
void prepare_chunks(const float* x, int64_t cols, int64_t begin, int64_t end, Chunk* chunks) {
    int64_t count = chunks_of(cols);
    for (int64_t i = begin; i < end; ++i) {
        int64_t row = i / count, c = i % count;
        linear_table().prepare(x + row * cols + c * chunk_cols, cols - c * chunk_cols, chunks + row * chunk_stride(cols) + c);
    }
}

}  // namespace

int64_t panels_of_piece(int64_t panels, int64_t bytes) {
    constexpr int64_t most = 1024 << 10;  // a piece begins with a wait for memory, so it must be long: 60 microseconds
    constexpr int64_t each = 3;          // for a thread, so that one which falls behind costs little
    int64_t fair = panels / (each * pool::threads()), long_enough = most * panels / std::max<int64_t>(1, bytes);
    return std::max<int64_t>(1, std::min(fair, long_enough));
}

int64_t tokens_of_block(int64_t cols, bool tiles) {
    constexpr int64_t bytes = 768 << 10, least = 36, most = 120;
    if (tiles) return std::clamp<int64_t>((1 << 20) / (2 * cols) / tile_tokens * tile_tokens, 64, token_block);
    int64_t fitting = bytes / (chunk_stride(cols) * static_cast<int64_t>(sizeof(Chunk)));
    return std::clamp(fitting / 12 * 12, least, most);
}

bool is_block_format(Format format) {
    return format != Format::F32 && format != Format::F16 && format != Format::BF16 && format != Format::F8_E4M3;
}

void prepare(const float* x, int64_t T, int64_t cols, Chunk* chunks) {
    pool::parallel(T * chunks_of(cols), 32, [&](int64_t begin, int64_t end) { prepare_chunks(x, cols, begin, end, chunks); });
}

void prepare_here(const float* x, int64_t T, int64_t cols, Chunk* chunks) {
    prepare_chunks(x, cols, 0, T * chunks_of(cols), chunks);
}

void multiply_here(const Weight& w, const Input& in, float* out, int64_t stride) {
    for (int64_t first = 0; first < w.rows; first += panel_rows)
        panel_times(w, first, std::min<int64_t>(panel_rows, w.rows - first), in, out + first, stride);
}

void multiply(const float* x, int64_t T, int64_t cols, const std::vector<Product>& products) {
    if (T == 0) return;
    static thread_local Workspace workspace, tile_space;
    int64_t count = (T + token_block - 1) / token_block, size = (T + count - 1) / count;
    for (int64_t t = 0; t < T; t += size) {
        Input in{x + t * cols, nullptr, cols, std::min(size, T - t)};
        auto any = [&](auto reads) { return std::any_of(products.begin(), products.end(), [&](const Product& p) { return reads(*p.w); }); };
        if (any([&](const Weight& w) { return takes_tiles(w, in.T); })) {
            uint16_t* tiles = tile_space.get<uint16_t>(tiles_size(in.T, cols));
            pool::parallel(in.T, 8, [&](int64_t begin, int64_t end) { pack_tiles(in, begin, end, tiles); });
            in.tiles = tiles;
        }
        if (any([&](const Weight& w) { return is_block_format(w.format) && !takes_tiles(w, in.T); })) {
            Chunk* chunks = workspace.get<Chunk>(in.T * chunk_stride(in.cols));
            prepare(in.x, in.T, cols, chunks);
            in.chunks = chunks;
        }
        multiply_block(products, in, t);
    }
}

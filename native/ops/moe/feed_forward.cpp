#include "feed_forward.h"

#include <algorithm>
#include <cstring>

#include "ops/linear/multiply.h"
#include "pool.h"
#include "workspace.h"

namespace {

// Where a group's hidden activations lie: floats or chunks, as its `down` reads them.
struct Hidden {
    float* floats = nullptr;
    Chunk* chunks = nullptr;
    int64_t width = 0;

    Input input(int64_t count) const { return {floats, chunks, width, count}; }
};

int64_t panels_of(int64_t rows) { return (rows + panel_rows - 1) / panel_rows; }

thread_local Workspace thread_scratch, chunk_space, hidden_space;

// 32 hidden columns of every token of the group, rounded at once for block formats: a panel is a group of activations.
void store_hidden(const Hidden& hidden, int64_t token, int64_t panel, const float* h, int64_t n) {
    if (hidden.floats) {
        std::memcpy(hidden.floats + token * hidden.width + panel * panel_rows, h, n * sizeof(float));
        return;
    }
    Chunk* row = hidden.chunks + token * hidden.input(0).chunk_count();
    linear_table().prepare_group(h, static_cast<int>(panel % 8), row + panel / 8);
    if (panel + 1 < panels_of(hidden.width)) return;
    const float zeros[panel_rows] = {};
    for (int64_t g = panel % 8 + 1; g < 8; ++g) linear_table().prepare_group(zeros, static_cast<int>(g), row + panel / 8);
}

void hidden_panel(const Group& group, const Hidden& hidden, const Input& x, int64_t panel) {
    int64_t first = panel * panel_rows, n = std::min<int64_t>(panel_rows, hidden.width - first);
    Input in = x;
    in.tokens = group.tokens, in.T = group.count;
    float* gate = thread_scratch.get<float>(2 * group.count * panel_rows);
    float* up = gate + group.count * panel_rows;
    linear_table().panel(*group.net.gate, first, n, in, gate, panel_rows);
    linear_table().panel(*group.net.up, first, n, in, up, panel_rows);
    for (int64_t t = 0; t < group.count; ++t) {
        float* h = gate + t * panel_rows;
        linear_table().swish(h, up + t * panel_rows, h, n);
        store_hidden(hidden, t, panel, h, n);
    }
}

void add_weighted(const Group& group, const float* part, int64_t first, int64_t n, int64_t d, float* y) {
    for (int64_t i = 0; i < group.count; ++i) {
        float weight = group.weights ? group.weights[i] : 1.0f;
        float* row = y + (group.tokens ? group.tokens[i] : i) * d + first;
        for (int64_t r = 0; r < n; ++r) row[r] += weight * part[i * panel_rows + r];
    }
}

void output_panel(const std::vector<Group>& groups, const std::vector<Hidden>& hidden, int64_t panel, int64_t T, int64_t d, float* y) {
    int64_t first = panel * panel_rows, n = std::min<int64_t>(panel_rows, d - first);
    for (int64_t t = 0; t < T; ++t) std::memset(y + t * d + first, 0, n * sizeof(float));
    for (size_t g = 0; g < groups.size(); ++g) {
        float* part = thread_scratch.get<float>(groups[g].count * panel_rows);
        linear_table().panel(*groups[g].net.down, first, n, hidden[g].input(groups[g].count), part, panel_rows);
        add_weighted(groups[g], part, first, n, d, y);
    }
}

// Lays the groups' hidden activations out one after another in the caller's workspace.
std::vector<Hidden> lay_out(const std::vector<Group>& groups) {
    std::vector<Hidden> hidden(groups.size());
    int64_t floats = 0, chunks = 0;
    auto place = [&](Chunk* base, float* float_base) {
        floats = chunks = 0;
        for (size_t g = 0; g < groups.size(); ++g) {
            hidden[g].width = groups[g].net.gate->rows;
            if (is_block_format(groups[g].net.down->format)) {
                hidden[g].chunks = base + chunks;
                chunks += groups[g].count * hidden[g].input(0).chunk_count();
            } else {
                hidden[g].floats = float_base + floats;
                floats += (groups[g].count * hidden[g].width + 15) / 16 * 16;
            }
        }
    };
    place(nullptr, nullptr);
    Chunk* base = reinterpret_cast<Chunk*>(hidden_space.get<char>(chunks * static_cast<int64_t>(sizeof(Chunk)) + floats * 4));
    place(base, reinterpret_cast<float*>(base + chunks));
    return hidden;
}

}  // namespace

void feed_forward(const float* x, int64_t T, int64_t d, const std::vector<Group>& groups, float* y) {
    Input in{x, nullptr, d, T};
    bool blocks = std::any_of(groups.begin(), groups.end(), [](const Group& g) {
        return is_block_format(g.net.gate->format) || is_block_format(g.net.up->format);
    });
    if (blocks) {
        Chunk* chunks = chunk_space.get<Chunk>(T * in.chunk_count());
        prepare(x, T, d, chunks);
        in.chunks = chunks;
    }
    std::vector<Hidden> hidden = lay_out(groups);
    std::vector<int64_t> ends;
    for (const Hidden& h : hidden) ends.push_back(panels_of(h.width) + (ends.empty() ? 0 : ends.back()));
    pool::Pieces hidden_pieces(ends.empty() ? 0 : ends.back(), 1), output_pieces(panels_of(d), 1);
    pool::run([&](int, int) {
        for (int64_t begin, end; hidden_pieces.next(begin, end);) {
            size_t g = std::upper_bound(ends.begin(), ends.end(), begin) - ends.begin();
            hidden_panel(groups[g], hidden[g], in, begin - (g ? ends[g - 1] : 0));
        }
        pool::barrier();
        for (int64_t begin, end; output_pieces.next(begin, end);) output_panel(groups, hidden, begin, T, d, y);
    });
}

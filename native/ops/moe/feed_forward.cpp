#include "feed_forward.h"

#include <algorithm>
#include <cstring>

#include "ops/linear/moving.h"
#include "ops/linear/multiply.h"
#include "pool.h"
#include "workspace.h"

namespace {

// Where a group's hidden activations lie: floats, chunks or tiles, as its `down` reads them.
struct Hidden {
    float* floats = nullptr;
    Chunk* chunks = nullptr;
    uint16_t* tiles = nullptr;
    int64_t width = 0;

    Input input(int64_t count) const { return {floats, chunks, width, count, nullptr, tiles}; }
};

constexpr int64_t few_tokens = 4;

int64_t panels_of(int64_t rows) { return (rows + panel_rows - 1) / panel_rows; }

thread_local Workspace thread_scratch, tile_space, chunk_space, hidden_space;

// Whether tokens of a group go into its hidden layer in tiles.
bool takes_tiles(const Group& group) { return takes_tiles(*group.net.gate, group.count) && takes_tiles(*group.net.up, group.count); }

// 32 hidden columns of every token of the group, rounded at once for block formats: a panel is a group of activations.
void store_hidden(const Hidden& hidden, int64_t token, int64_t panel, const float* h, int64_t n) {
    if (hidden.tiles) return tile_table()->put(h, tile_place(hidden.tiles, hidden.width, token, panel * panel_rows));
    if (hidden.floats) {
        std::memcpy(hidden.floats + token * hidden.width + panel * panel_rows, h, n * sizeof(float));
        return;
    }
    Chunk* row = hidden.chunks + token * chunk_stride(hidden.width);
    const int64_t chunk = panel / 8, groups = std::min<int64_t>(8, panels_of(hidden.width) - 8 * chunk);
    linear_table().prepare_group(h, static_cast<int>(panel % 8), static_cast<int>(groups), row + chunk);
}

// One panel after the other of one matrix: its rows lie in one stretch of memory. out: (count, panels * panel_rows).
void stretch_of(const Weight& w, int64_t panel, int64_t panels, Input in, const uint8_t* next, float* out) {
    for (int64_t p = 0; p < panels; ++p) {
        int64_t first = (panel + p) * panel_rows, n = std::min<int64_t>(panel_rows, w.rows - first);
        in.next = p + 1 < panels ? nullptr : next;
        panel_times(w, first, n, in, out + p * panel_rows, panels * panel_rows);
    }
}

// Some tokens of a group, from its number `token` on, and their hidden columns of `panels` panels.
void hidden_part(const Group& group, const Hidden& hidden, const Input& in, int64_t token, int64_t panel, int64_t panels, const uint8_t* next) {
    int64_t width = panels * panel_rows, first = panel * panel_rows;
    float* gate = thread_scratch.get<float>(2 * in.T * width);
    float* up = gate + in.T * width;
    stretch_of(*group.net.gate, panel, panels, in, group.net.up->row(first), gate);
    stretch_of(*group.net.up, panel, panels, in, next, up);
    for (int64_t t = 0; t < in.T; ++t)
        for (int64_t p = 0; p < panels; ++p) {
            float* h = gate + t * width + p * panel_rows;
            int64_t n = std::min<int64_t>(panel_rows, hidden.width - first - p * panel_rows);
            linear_table().swish(h, up + t * width + p * panel_rows, h, n);
            store_hidden(hidden, token + t, panel + p, h, n);
        }
}

const uint16_t* packed(const Input& in) {
    uint16_t* tiles = tile_space.get<uint16_t>(tiles_size(in.T, in.cols));
    pack_tiles(in, 0, in.T, tiles);
    return tiles;
}

// Panels first .. end of a group. Long stretches feed memory's pipeline; many tokens keep to one panel, whose results stay in cache,
// and in blocks, whose activations stay in L2.
void hidden_panels(const Group& group, const Hidden& hidden, const Input& x, int64_t first, int64_t end, const uint8_t* next) {
    const bool tiles = takes_tiles(group);
    const int64_t each = group.count <= few_tokens ? end - first : 1, block = tokens_of_block(x.cols, tiles);
    Input in = x;
    in.tokens = group.tokens;
    for (int64_t t = 0; t < group.count; t += block) {
        const int64_t n = std::min(block, group.count - t);
        Input part = in.part(t, n);
        if (tiles) part.tiles = packed(part);
        for (int64_t panel = first; panel < end; panel += each) {
            const int64_t then = panel + each < end ? panel + each : first;
            const bool last = then == first && t + n == group.count;
            hidden_part(group, hidden, part, t, panel, each, last && next ? next : group.net.gate->row(then * panel_rows));
        }
    }
}

// part: what n tokens of the group, from its number `token` on, give in `rows` rows from `first` on.
void add_weighted(const Group& group, const float* part, int64_t token, int64_t n, int64_t first, int64_t rows, int64_t d, float* y) {
    for (int64_t i = 0; i < n; ++i) {
        float weight = group.weights ? group.weights[token + i] : 1.0f;
        float* row = y + (group.tokens ? group.tokens[token + i] : token + i) * d + first;
        for (int64_t r = 0; r < rows; ++r) row[r] += weight * part[i * panel_rows + r];
    }
}

// Rows first .. last of a group's `down`, all of them for some tokens after the other.
void output_part(const Group& group, const Hidden& hidden, int64_t first, int64_t last, const uint8_t* next, int64_t d, float* y) {
    const int64_t block = tokens_of_block(hidden.width, hidden.tiles);
    for (int64_t t = 0; t < group.count; t += block) {
        Input in = hidden.input(group.count).part(t, std::min(block, group.count - t));
        float* part = thread_scratch.get<float>(in.T * panel_rows);
        for (int64_t row = first; row < last; row += panel_rows) {
            const int64_t n = std::min<int64_t>(panel_rows, d - row);
            in.next = row + n < last ? nullptr : t + in.T < group.count ? group.net.down->row(first) : next;
            panel_times(*group.net.down, row, n, in, part, panel_rows);
            add_weighted(group, part, t, in.T, row, n, d, y);
        }
    }
}

// Output panels begin .. end, group by group: a group's hidden activations stay in L2 while all of these rows of its `down`, which
// lie in one stretch of memory, pass over them.
void output_panels(const std::vector<Group>& groups, const std::vector<Hidden>& hidden, int64_t begin, int64_t end, int64_t T, int64_t d, float* y) {
    const int64_t first = begin * panel_rows, last = std::min(d, end * panel_rows);
    for (int64_t t = 0; t < T; ++t) std::memset(y + t * d + first, 0, (last - first) * sizeof(float));
    if (!groups.empty()) fetch_first(*groups[0].net.down, first);
    for (size_t g = 0; g < groups.size(); ++g)
        output_part(groups[g], hidden[g], first, last, groups[(g + 1) % groups.size()].net.down->row(first), d, y);
}

// Lays the groups' hidden activations out one after another in the caller's workspace.
std::vector<Hidden> lay_out(const std::vector<Group>& groups) {
    std::vector<Hidden> hidden(groups.size());
    int64_t floats = 0, chunks = 0, tiles = 0;
    auto place = [&](Chunk* base) {
        uint16_t* tile_base = reinterpret_cast<uint16_t*>(base + chunks);
        float* float_base = reinterpret_cast<float*>(tile_base + tiles);
        floats = chunks = tiles = 0;
        for (size_t g = 0; g < groups.size(); ++g) {
            hidden[g].width = groups[g].net.gate->rows;
            if (takes_tiles(*groups[g].net.down, groups[g].count)) {
                hidden[g].tiles = tile_base + tiles;
                tiles += tiles_size(groups[g].count, hidden[g].width);
            } else if (is_block_format(groups[g].net.down->format)) {
                hidden[g].chunks = base + chunks;
                chunks += groups[g].count * chunk_stride(hidden[g].width);
            } else {
                hidden[g].floats = float_base + floats;
                floats += (groups[g].count * hidden[g].width + 15) / 16 * 16;
            }
        }
    };
    place(nullptr);
    place(reinterpret_cast<Chunk*>(hidden_space.get<char>(chunks * static_cast<int64_t>(sizeof(Chunk)) + tiles * 2 + floats * 4)));
    return hidden;
}

// The groups' hidden panels in one line, so that one counter hands them out.
class Line {
public:
    explicit Line(const std::vector<Group>& groups) : groups_(groups) {
        for (const Group& group : groups) ends_.push_back(panels() + panels_of(group.net.gate->rows));
    }
    int64_t panels() const { return ends_.empty() ? 0 : ends_.back(); }
    int64_t bytes() const {
        int64_t sum = 0;
        for (const Group& group : groups_) sum += 2 * group.net.gate->rows * group.net.gate->row_bytes;
        return sum;
    }
    size_t group_of(int64_t panel) const { return std::upper_bound(ends_.begin(), ends_.end(), panel) - ends_.begin(); }
    int64_t begin(size_t group) const { return group ? ends_[group - 1] : 0; }
    int64_t end(size_t group) const { return ends_[group]; }
    const Weight& gate(int64_t panel) const { return *groups_[group_of(panel)].net.gate; }
    int64_t row(int64_t panel) const { return (panel - begin(group_of(panel))) * panel_rows; }
    int owner(int64_t panel) const {
        const size_t group = group_of(panel);
        return nodes::owner(panel - begin(group), end(group) - begin(group));
    }

private:
    const std::vector<Group>& groups_;
    std::vector<int64_t> ends_;
};

// Hidden panels begin .. end of the line, as far as each group goes.
void hidden_piece(const std::vector<Group>& groups, const std::vector<Hidden>& hidden, const Line& line, const Input& x, int64_t begin, int64_t end) {
    fetch_first(line.gate(begin), line.row(begin));
    for (int64_t panel = begin, then; panel < end; panel = then) {
        const size_t g = line.group_of(panel);
        then = std::min(end, line.end(g));
        const uint8_t* next = then < end ? line.gate(then).row(line.row(then)) : nullptr;
        hidden_panels(groups[g], hidden[g], x, panel - line.begin(g), then - line.begin(g), next);
    }
}

Input input_of(const float* x, int64_t T, int64_t d, const std::vector<Group>& groups) {
    Input in{x, nullptr, d, T};
    auto reads_blocks = [](const Group& g) { return !takes_tiles(g) && (is_block_format(g.net.gate->format) || is_block_format(g.net.up->format)); };
    if (std::any_of(groups.begin(), groups.end(), reads_blocks)) {
        Chunk* chunks = chunk_space.get<Chunk>(T * chunk_stride(d));
        prepare(x, T, d, chunks);
        in.chunks = chunks;
    }
    return in;
}

}  // namespace

void feed_forward(const float* x, int64_t T, int64_t d, const std::vector<Group>& groups, float* y) {
    const Input in = input_of(x, T, d, groups);
    const std::vector<Hidden> hidden = lay_out(groups);
    const Line line(groups);
    const int64_t outputs = panels_of(d);
    pool::Pieces hidden_pieces(line.panels(), panels_of_piece(line.panels(), line.bytes()), 1, [&](int64_t panel) { return line.owner(panel); });
    pool::Pieces output_pieces(outputs, panels_of_piece(outputs, line.bytes() / 2), 1, [&](int64_t panel) { return nodes::owner(panel, outputs); });
    pool::run([&](int, int) {
        for (int64_t begin, end; hidden_pieces.next(begin, end);) hidden_piece(groups, hidden, line, in, begin, end);
        pool::barrier();
        for (int64_t begin, end; output_pieces.next(begin, end);) output_panels(groups, hidden, begin, end, T, d, y);
    });
}

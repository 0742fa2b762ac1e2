#include "attend.h"

#include <algorithm>
#include <cmath>

#include "pool.h"
#include "workspace.h"

namespace {

constexpr int64_t stretch = 512;       // keys of a piece: long enough that merging costs little
constexpr int64_t few_rows = 256;      // up to which keys are cut

int64_t token_of(const Attend& a, int64_t sequence, int64_t row) { return a.batch.starts[sequence] + row / a.group; }

int64_t first_seen(const Attend& a, int64_t position) { return a.window ? std::max<int64_t>(0, position - a.window + 1) : 0; }

int64_t query_head(const Attend& a, int64_t head, int64_t row) { return head * a.group + row % a.group; }

int64_t query_row(const Attend& a, int64_t sequence, int64_t head, int64_t row) {
    return token_of(a, sequence, row) * a.key_heads * a.group + query_head(a, head, row);
}

int64_t end_of_stretch(int64_t key) { return (key / stretch + 1) * stretch; }

// As many heads to a task as leave one for each thread.
int64_t heads_of_task(const Attend& a, int64_t stretches) {
    return std::clamp<int64_t>(a.key_heads * stretches * a.batch.sequences / pool::threads(), 1, a.key_heads);
}

// Rows of all heads.
void cut(const Attend& a, const AttendTask& task, AttendPlan* plan) {
    const int64_t end = task.key + task.keys, count = (end - 1) / stretch - task.key / stretch + 1, most = heads_of_task(a, count);
    for (int64_t head = 0; head < a.key_heads; ++head)
        for (int64_t i = 0; i < task.rows; ++i)
            plan->merges.push_back({task.sequence, head, task.row + i, plan->parts + head * task.rows + i, count, a.key_heads * task.rows});
    for (int64_t key = task.key, next; key < end; key = next) {
        next = std::min(end_of_stretch(key), end);
        for (int64_t head = 0; head < a.key_heads; head += most) {
            const int64_t heads = std::min(most, a.key_heads - head);
            plan->tasks.push_back({task.sequence, head, heads, task.row, task.rows, key, next - key, plan->parts});
            plan->parts += heads * task.rows;
        }
    }
}

void plan_sequence(const Attend& a, int64_t sequence, AttendPlan* plan) {
    int64_t rows = a.batch.count(sequence) * a.group;
    for (int64_t row = (rows - 1) / tile_rows * tile_rows; row >= 0; row -= tile_rows) {   // the longest first
        int64_t n = std::min<int64_t>(tile_rows, rows - row);
        int64_t key = first_seen(a, a.batch.positions[token_of(a, sequence, row)]) / tile_keys * tile_keys;
        int64_t keys = a.batch.positions[token_of(a, sequence, row + n - 1)] + 1 - key;
        const AttendTask task{sequence, 0, a.key_heads, row, n, key, keys, -1};
        if (rows <= few_rows && keys > stretch) cut(a, task, plan);
        else
            for (int64_t head = 0; head < a.key_heads; ++head) plan->tasks.push_back(task.of_head(head));
        plan->work += a.key_heads * n * keys * (a.dim + a.value_dim);
    }
}

// Keys and values of all heads of a task, by loads in the order in which they lie, which the hardware runs ahead of.
void bring(const Attend& a, const AttendTask& task, int64_t key, int keys) {
    a.keys.bring(a.batch, task.sequence, key, keys, task.head * a.dim, task.heads * a.dim);
    a.values.bring(a.batch, task.sequence, key, keys, task.head * a.value_column, task.heads * a.value_column);
}

// The keys and values that a task's heads read next, fetched evenly while those before them are multiplied: half of the lines with
// each of the two, which pass over the query rows in blocks of about so many.
struct Coming {
    static constexpr int64_t rows_with_keys = 3, rows_with_values = 6;

    const uint8_t* rows[2 * tile_keys];
    const int count;
    const int64_t bytes, lines;
    Ahead ahead;
    int with_key, with_value;

    Coming(const Attend& a, const AttendTask& task, int64_t key, int64_t end)
        : count(static_cast<int>(std::clamp<int64_t>(end - key, 0, tile_keys))), bytes(task.heads * std::max(a.dim, a.value_column) * a.keys.size()),
          lines(2 * count * ((bytes + 63) / 64)), ahead(rows, 0, 2 * count, bytes), with_key(share(task, rows_with_keys)),
          with_value(share(task, rows_with_values)) {
        const RowSet k = a.keys.rows(a.batch, task.sequence, key, count, task.head * a.dim);
        const RowSet v = a.values.rows(a.batch, task.sequence, key, count, task.head * a.value_column);
        for (int i = 0; i < count; ++i) rows[2 * i] = k.rows[i], rows[2 * i + 1] = v.rows[i];
    }

private:
    int share(const AttendTask& task, int64_t block) const {
        const int64_t times = task.heads * tile_keys * ((task.rows + block - 1) / block);
        return static_cast<int>((lines / 2 + times - 1) / times);
    }
};

void attend_keys(const Attend& a, const AttendTask& task, int64_t key, int keys, RowTile* tile, float* sums, Coming* coming = nullptr) {
    RowSet k = a.keys.rows(a.batch, task.sequence, key, keys, task.head * a.dim);
    RowSet v = a.values.data == a.keys.data ? k : a.values.rows(a.batch, task.sequence, key, keys, task.head * a.value_column);
    if (tile->rows <= waiting_rows)
        for (int j = 0; j < keys; ++j) fetch_row(v, j, a.value_dim);
    if (coming) k.ahead = v.ahead = &coming->ahead, k.lines = coming->with_key, v.lines = coming->with_value;
    tile->attend(k, v, key, a.dim, a.value_dim, a.scale, sums);
}

void attend_tiles(const Attend& a, const AttendTask& stretch, RowTile* tile, float* sums) {
    for (int64_t key = stretch.key, end = stretch.key + stretch.keys; key < end; key += tile_keys)
        attend_keys(a, stretch, key, static_cast<int>(std::min<int64_t>(tile_keys, end - key)), tile, sums);
}

// Adds what a row has of more keys to what it has: sums and other have `dim` numbers.
void fold(float* sums, Softmax* state, const float* other, const Softmax& more, int64_t dim) {
    float largest = std::max(state->largest, more.largest);
    auto shrink = [&](float from) { return from == largest ? 1.0f : std::exp(from - largest); };
    float ours = shrink(state->largest), theirs = shrink(more.largest);
    for (int64_t d = 0; d < dim; ++d) sums[d] = sums[d] * ours + other[d] * theirs;
    *state = {largest, state->sum * ours + more.sum * theirs, 1};
}

// A tile's rows over the stretches so far, folded as `merge` folds those of other tasks.
class Folded {
public:
    Folded(int64_t dim) : dim_(dim), stride_(padded(dim)) {}

    bool any() const { return sums_; }
    const float* sums() const { return sums_; }

    // The rows begin anew.
    void take(RowTile* tile, float* sums) {
        static thread_local Workspace workspace;
        if (!any()) {
            sums_ = workspace.get<float>(tile_rows * stride_);
            std::copy_n(sums, tile->rows * stride_, sums_);
            std::copy_n(tile->states, tile->rows, states_);
        } else {
            for (int i = 0; i < tile->rows; ++i) fold(sums_ + i * stride_, states_ + i, sums + i * stride_, tile->states[i], dim_);
        }
        std::fill_n(sums, tile->rows * stride_, 0.0f);
        std::fill_n(tile->states, tile->rows, Softmax{-INFINITY, 0, 1});
    }
    void give_back(RowTile* tile) const { std::copy_n(states_, tile->rows, tile->states); }

private:
    int64_t dim_, stride_;
    float* sums_ = nullptr;
    Softmax states_[tile_rows];
};

}  // namespace

void plan(const Attend& problem, AttendPlan* out) {
    for (int64_t s = 0; s < problem.batch.sequences; ++s)
        if (problem.batch.count(s) > 0) plan_sequence(problem, s, out);
}

RowTile tile_of(const Attend& a, const AttendTask& task) {
    RowTile tile;
    for (int64_t row = task.row; row < task.row + task.rows; ++row) {
        int64_t position = a.batch.positions[token_of(a, task.sequence, row)];
        tile.add(a.q + query_row(a, task.sequence, task.head, row) * a.dim, first_seen(a, position), position);
    }
    return tile;
}

void finish(const Attend& a, const AttendTask& task, const AttendParts& parts, const RowTile& tile, const float* sums) {
    for (int i = 0; i < tile.rows; ++i) {
        if (task.part >= 0) parts.states[task.part + i] = tile.states[i];
        else tile.finish(i, sums, a.value_dim, a.out + query_row(a, task.sequence, task.head, task.row + i) * a.value_dim);
    }
}

float* fresh_sums(const Attend& a, const AttendTask& task, const AttendParts& parts) {
    static thread_local Workspace workspace;
    int64_t stride = padded(a.value_dim);
    float* sums = task.part < 0 ? workspace.get<float>(tile_rows * stride) : parts.sums + task.part * stride;
    std::fill_n(sums, task.rows * stride, 0.0f);
    return sums;
}

void attend_by_stretches(const Attend& a, const AttendTask& task, const AttendParts& parts, RunStretch* run) {
    float* sums = fresh_sums(a, task, parts);
    RowTile tile = tile_of(a, task);
    Folded folded(a.value_dim);
    AttendTask part = task;
    for (const int64_t end = task.key + task.keys; part.key < end; part.key += part.keys) {
        part.keys = std::min(end_of_stretch(part.key), end) - part.key;
        run(a, part, &tile, sums);
        if (part.key + part.keys < end || folded.any()) folded.take(&tile, sums);
    }
    if (folded.any()) folded.give_back(&tile);
    finish(a, task, parts, tile, folded.any() ? folded.sums() : sums);
}

// Of one stretch. The first tile is waited for; each other one comes while the one before it is multiplied.
void attend_heads(const Attend& a, const AttendTask& task, const AttendParts& parts) {
    static thread_local std::vector<RowTile> tiles;
    static thread_local std::vector<float*> sums;
    tiles.clear(), sums.clear();
    for (int64_t i = 0; i < task.heads; ++i) tiles.push_back(tile_of(a, task.of_head(i))), sums.push_back(fresh_sums(a, task.of_head(i), parts));
    for (int64_t key = task.key, end = task.key + task.keys; key < end; key += tile_keys) {
        const int keys = static_cast<int>(std::min<int64_t>(tile_keys, end - key));
        if (key == task.key) bring(a, task, key, keys);
        Coming coming(a, task, key + tile_keys, end);
        for (int64_t i = 0; i < task.heads; ++i) attend_keys(a, task.of_head(i), key, keys, &tiles[i], sums[i], &coming);
        coming.ahead.fetch(coming.lines);
    }
    for (int64_t i = 0; i < task.heads; ++i) finish(a, task.of_head(i), parts, tiles[i], sums[i]);
}

void attend_rows(const Attend& a, const AttendTask& task, const AttendParts& parts) {
    if (task.heads > 1) attend_heads(a, task, parts);
    else attend_by_stretches(a, task, parts, attend_tiles);
}

void merge(const Attend& a, const AttendMerge& merge, const AttendParts& parts) {
    const int64_t stride = padded(a.value_dim);
    float *out = a.out + query_row(a, merge.sequence, merge.head, merge.row) * a.value_dim, *sums = parts.sums + merge.part * stride;
    Softmax state = parts.states[merge.part];
    for (int64_t c = 1; c < merge.count; ++c) {
        const int64_t part = merge.part + c * merge.stride;
        fold(sums, &state, parts.sums + part * stride, parts.states[part], a.value_dim);
    }
    for (int64_t d = 0; d < a.value_dim; ++d) out[d] = sums[d] / state.sum;
}

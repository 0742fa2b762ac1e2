#pragma once

#include <vector>

#include "ops/attention/row_tile.h"

// Causal attention of a batch's queries over the cache, as a list of tasks that threads take in any order. A task is a
// tile of query rows of one sequence and key head against a stretch of its keys. Rows are (token, query head of the
// group), token by token: all of them read the same keys. A sequence with few rows has its keys cut into stretches of
// fixed length, so that one long sequence keeps every thread busy; the pieces are merged in order. It waits for memory, which
// is twice as fast in the order in which it lies, so its tasks have several heads, one tile of keys at a time. One with many
// rows folds the same stretches one after another. Tiles and stretches begin at the same positions whatever the rows, so a
// row's result depends neither on the rest of the batch nor on the number of threads.
struct Attend {
    Batch batch;
    Pages keys, values;
    const float* q;                   // (tokens, key_heads * group, dim)
    float* out;                       // (tokens, key_heads * group, value_dim)
    int64_t key_heads, group, dim, value_dim;
    float scale;
    int64_t window;                   // positions that a token sees, itself included; 0: all
    int64_t value_column;             // from one key head's values to the next one's in a row of the cache
};

struct AttendTask {
    int64_t sequence, head, heads;    // key heads: several only where keys were cut
    int64_t row, rows, key, keys;
    int64_t part;                     // where its unmerged result goes, head after head, in rows of all parts; -1: straight to `out`

    AttendTask of_head(int64_t i) const { return {sequence, head + i, 1, row, rows, key, keys, part < 0 ? part : part + i * rows}; }
};

// A row whose keys were cut: `count` parts, the first at `part` and each `stride` further on.
struct AttendMerge {
    int64_t sequence, head, row, part, count, stride;
};

struct AttendPlan {
    std::vector<AttendTask> tasks;
    std::vector<AttendMerge> merges;
    int64_t parts = 0, work = 0;      // work: multiply-adds
};

// Unmerged results: `parts` rows of the padded value width each, and their softmax states.
struct AttendParts {
    float* sums;
    Softmax* states;
};

void plan(const Attend& problem, AttendPlan* out);
using RunTask = void(const Attend& problem, const AttendTask& task, const AttendParts& parts);
RunTask attend_rows;

// A task's stretches one after another, each by `run` from rows that have seen nothing, with sums of zero; then folded.
using RunStretch = void(const Attend& problem, const AttendTask& stretch, RowTile* tile, float* sums);
void attend_by_stretches(const Attend& problem, const AttendTask& task, const AttendParts& parts, RunStretch* run);

// The steps of a task: its rows; zeros to add to, (rows, padded(value_dim)); and where the result goes.
RowTile tile_of(const Attend& problem, const AttendTask& task);
float* fresh_sums(const Attend& problem, const AttendTask& task, const AttendParts& parts);
void finish(const Attend& problem, const AttendTask& task, const AttendParts& parts, const RowTile& tile, const float* sums);
void merge(const Attend& problem, const AttendMerge& merge, const AttendParts& parts);

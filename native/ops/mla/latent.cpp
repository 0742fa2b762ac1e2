#include "latent.h"

#include <vector>

#include "isa.h"

namespace {

template <int Block>
void attend_blocks(const Attend& a, const AttendTask& task, RowTile* tile, float* sums, void (*kernel)(const LatentTask&)) {
    static thread_local std::vector<const uint8_t*> blocks;
    static thread_local std::vector<const float*> scales;
    blocks.clear(), scales.clear();
    for (int64_t key = task.key; key < task.key + task.keys; key += Block) {
        blocks.push_back(a.keys.row(a.batch, task.sequence, key));
        if (a.keys.layout == Layout::quads) scales.push_back(a.keys.scales(a.batch, task.sequence, key) + key % a.keys.page);
    }
    kernel({tile->rows, tile->q, tile->last, task.key, task.keys, blocks.data(), scales.empty() ? nullptr : scales.data(), a.keys.page, a.dim,
            a.value_dim, a.scale, sums, padded(a.value_dim), tile->states});
}

#if defined(__x86_64__)
template <int Block>
void attend_all(const Attend& a, const AttendTask& task, const AttendParts& parts, void (*kernel)(const LatentTask&)) {
    RowTile tile = tile_of(a, task);
    float* sums = fresh_sums(a, task, parts);
    attend_blocks<Block>(a, task, &tile, sums, kernel);
    finish(a, task, parts, tile, sums);
}

void attend_pairs(const Attend& a, const AttendTask& task, const AttendParts& parts) { attend_all<pair_block>(a, task, parts, attend_pairs_avx512bf16); }
void attend_quads(const Attend& a, const AttendTask& task, const AttendParts& parts) { attend_all<quad_block>(a, task, parts, attend_quads_avx512); }
void attend_in_tiles(const Attend& a, const AttendTask& task, const AttendParts& parts) { attend_all<row_block>(a, task, parts, attend_rows_amx); }
void attend_words(const Attend& a, const AttendTask& task, const AttendParts& parts) {
    attend_by_stretches(a, task, parts, [](const Attend& problem, const AttendTask& stretch, RowTile* tile, float* sums) {
        attend_blocks<word_block>(problem, stretch, tile, sums, attend_words_avx2);
    });
}
#endif

bool in_blocks(const Pages& pages, int64_t rank, int block) { return pages.page % block == 0 && pages.width % 16 == 0 && rank % 16 == 0; }

bool in_tiles(const Pages& pages, int64_t rank) { return in_blocks(pages, rank, row_block) && pages.width % 32 == 0 && rank % 32 == 0; }

}  // namespace

RunTask* latent_task(const Pages& pages, int64_t rank) {
#if defined(__x86_64__)
    if (pages.layout == Layout::pairs) return attend_pairs;
    if (pages.layout == Layout::rows && pages.bfloat && has_tiles() && in_tiles(pages, rank)) return attend_in_tiles;
    if (pages.layout == Layout::quads && has_avx512() && in_blocks(pages, rank, quad_block)) return attend_quads;
    if (pages.size() < 4 && isa() == Isa::avx2 && in_blocks(pages, rank, word_block)) return attend_words;
#endif
    return attend_rows;
}

Layout bfloat_layout(const Pages& pages, int64_t rank) {
    if (has_tiles() && in_tiles(pages, rank)) return Layout::rows;
    return attention_table().bfloat_dot && in_blocks(pages, rank, pair_block) ? Layout::pairs : Layout::rows;
}

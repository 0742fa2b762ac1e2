#include "latent.h"

#include <vector>

bool in_pairs(const Pages& pages, int64_t rank) {
    return attention_table().bfloat_dot && pages.bfloat && pages.page % latent_block == 0 && pages.width % 16 == 0 && rank % 16 == 0;
}

void attend_pairs(const Attend& a, const AttendTask& task, const AttendParts& parts) {
    static thread_local std::vector<const uint8_t*> blocks;
    blocks.clear();
    for (int64_t key = task.key; key < task.key + task.keys; key += latent_block) blocks.push_back(a.keys.row(a.batch, task.sequence, key));
    RowTile tile = tile_of(a, task);
    float* sums = fresh_sums(a, task, parts);
#if defined(__x86_64__)
    attend_pairs_avx512bf16({tile.rows, tile.q, tile.last, task.key, task.keys, blocks.data(), a.dim, a.value_dim, a.scale, sums, padded(a.value_dim), tile.states});
#endif
    finish(a, task, parts, tile, sums);
}

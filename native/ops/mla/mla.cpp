#include "mla.h"

#include "absorbed.h"
#include "expanded.h"
#include "ops/attention/step.h"

namespace {

Weight rows_of(const Weight& w, int64_t first, int64_t count) {
    Weight part = w;
    part.data = w.row(first), part.rows = count, part.first_row = w.first_row + first;
    return part;
}

// For `tokens` queries over the same keys, by multiply-adds for each key and head.
bool absorbing_pays(const Mla& a, int64_t tokens) {
    return tokens * (2 * a.rank + a.rope) <= a.rank * (a.nope + a.v) + tokens * (a.nope + a.rope + a.v);
}

}  // namespace

Weight Mla::values_up(int64_t head) const {
    return up->split() ? *up->v_b[head] : rows_of(*up->kv_b, head * (nope + v) + nope, v);
}

Weight Mla::keys_up(int64_t head) const { return up->split() ? *up->k_b[head] : rows_of(*up->kv_b, head * (nope + v), nope); }

void mla(const Mla& problem, const float* latent) {
    write(problem.pages, problem.batch, latent);
    std::vector<int64_t> few, many;
    for (int64_t s = 0; s < problem.batch.sequences; ++s)
        if (int64_t count = problem.batch.count(s)) (absorbing_pays(problem, count) ? few : many).push_back(s);
    for (int64_t sequence : many) Expanded(problem, sequence).run();
    if (few.empty()) return;
    Absorbed absorbed(problem, few);
    region(absorbed.work(), [&](auto barrier) { absorbed.run(barrier); });
}

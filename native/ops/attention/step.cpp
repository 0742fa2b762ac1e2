#include "step.h"

#include "workspace.h"

AttendParts parts_of(const AttendPlan& plan, int64_t value_dim) {
    static thread_local Workspace sums, states;
    return {sums.get<float>(plan.parts * padded(value_dim)), states.get<Softmax>(plan.parts)};
}

void write(const Pages& pages, const Batch& batch, const float* x) {
    int64_t grain = pages.width > 0 ? 65536 / pages.width + 1 : 1;
    pool::parallel(batch.tokens, grain, [&](int64_t begin, int64_t end) { pages.write(batch, x, begin, end); });
}

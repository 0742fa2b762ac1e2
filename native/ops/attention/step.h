#pragma once

#include "ops/attention/attend.h"
#include "pool.h"

// A fork costs some microseconds: as long as a core takes for this many multiply-adds.
constexpr int64_t fork_work = 200000;

// body(barrier) on every thread, or on this one alone where the work is not worth waking others.
template <class Body>
void region(int64_t work, const Body& body) {
    if (work < fork_work || pool::threads() == 1) body([] {});
    else pool::run([&](int, int) { body([] { pool::barrier(); }); });
}

// Memory for the unmerged parts of a plan; belongs to the calling thread, until its next call.
AttendParts parts_of(const AttendPlan& plan, int64_t value_dim);

// Writes this step's rows (tokens, width) into the cache.
void write(const Pages& pages, const Batch& batch, const float* x);

// All tasks of a plan, then its merges, by whichever threads call this. Ends with every thread's work done only after
// another barrier.
template <class Barrier>
void attend(const Attend& problem, const AttendPlan& plan, const AttendParts& parts, pool::Pieces& tasks, pool::Pieces& merges,
            const Barrier& barrier, RunTask* run = attend_rows) {
    for (int64_t i, end; tasks.next(i, end);) run(problem, plan.tasks[i], parts);
    if (plan.merges.empty()) return;
    barrier();
    for (int64_t i, end; merges.next(i, end);) merge(problem, plan.merges[i], parts);
}

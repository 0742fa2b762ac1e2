#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

// One pool of threads for the process. A fused op is one fork-join: `run` calls work(thread, threads) on every thread,
// the caller being thread 0, and returns when all are done. Workers spin for a short while after a job, so that the
// next op of the same token finds them awake, then sleep.
namespace pool {

using Work = std::function<void(int thread, int threads)>;

int threads();
void set_threads(int count);   // 1 to 1024; not while a job runs
void run(const Work& work);    // calls from several Python threads take turns; not reentrant

// Inside a job: waits until every thread of the job has arrived. Everything written before is seen after.
void barrier();

// Hands out [0, count) in pieces of `grain`, first come first served: with a busy neighbour on one core the other
// threads take over its share. Which thread computes a piece must not change its result.
class Pieces {
public:
    Pieces(int64_t count, int64_t grain) : count_(count), grain_(grain) {}
    bool next(int64_t& begin, int64_t& end) {
        begin = next_.fetch_add(grain_, std::memory_order_relaxed);
        end = begin + grain_ < count_ ? begin + grain_ : count_;
        return begin < count_;
    }

private:
    std::atomic<int64_t> next_{0};
    int64_t count_, grain_;
};

// parallel over [0, count): body(begin, end) for pieces of `grain`.
template <class Body>
void parallel(int64_t count, int64_t grain, const Body& body) {
    if (count <= grain || threads() == 1) {
        if (count > 0) body(int64_t{0}, count);
        return;
    }
    Pieces pieces(count, grain);
    run([&](int, int) {
        for (int64_t begin, end; pieces.next(begin, end);) body(begin, end);
    });
}

}  // namespace pool

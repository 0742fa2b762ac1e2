#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "nodes.h"

// One pool of threads for the process. A fused op is one fork-join: `run` calls work(thread, threads) on the caller, as
// thread 0, and on every worker that is awake in time, and returns when all of those are done. Nobody waits for a worker
// that the system has not let run yet, so a busy neighbour on one core costs that core and no more; in exchange the work
// must be shared out by `Pieces`, never by thread number. Workers spin for a short while after a job, so that the next op
// of the same token finds them awake, then sleep.
namespace pool {

int threads();  // by default one for each of cores()
void set_threads(int count);  // 1 to 1024; waits for a running job

struct Job {
    void (*call)(const void* work, int thread, int threads);
    const void* work;
};
void start(const Job& job, bool everywhere);

template <class Work>
Job job_of(const Work& work) {
    return {[](const void* w, int thread, int threads) { (*static_cast<const Work*>(w))(thread, threads); }, &work};
}

// Calls from several Python threads take turns; not reentrant. An exception thrown by work is rethrown here.
template <class Work>
void run(const Work& work) { start(job_of(work), false); }

// As run, on each thread without fail: for measurements.
template <class Work>
void run_everywhere(const Work& work) { start(job_of(work), true); }

// Inside a job: waits until every thread that takes part has arrived; one that comes later finds the barrier open.
// Everything written before is seen after. At most 16 in a job.
void barrier();

// Hands out [0, count) in pieces of `grain`, first come first served: with a busy neighbour on one core the other
// threads take over its share. Which thread computes a piece must not change its result. With a `least` the last pieces
// are shorter and shorter down to that, so that all threads are done at about the same time.
class Pieces {
public:
    Pieces(int64_t count, int64_t grain) : Pieces(count, grain, grain) {}
    Pieces(int64_t count, int64_t grain, int64_t least) : count_(count), grain_(grain), least_(least), shares_(2 * threads()) {}
    // owner(i): the node of memory that i is of. On machines with several, threads there are handed its pieces first.
    template <class Owner>
    Pieces(int64_t count, int64_t grain, int64_t least, const Owner& owner) : Pieces(count, grain, least) {
        if (nodes::count() > 1) deal(owner);
    }
    void reset(int64_t count) { count_ = count, next_ = 0; }  // before any thread has taken a piece
    bool next(int64_t& begin, int64_t& end) {
        if (lots_) return next_of_lots(begin, end);
        begin = next_.load(std::memory_order_relaxed);
        do end = begin + size(count_ - begin);
        while (begin < count_ && !next_.compare_exchange_weak(begin, end, std::memory_order_relaxed));
        if (end > count_) end = count_;
        return begin < count_;
    }

private:
    struct Lot {  // a node's
        std::vector<std::pair<int64_t, int64_t>> pieces;
        std::atomic<size_t> next{0};
    };

    int64_t size(int64_t left) const {
        int64_t share = left / shares_;
        return share >= grain_ ? grain_ : share > least_ ? share : least_;
    }
    template <class Owner>
    void deal(const Owner& owner) {
        lots_ = std::make_unique<Lot[]>(nodes::count());
        for (int64_t begin = 0, end; begin < count_; begin = end) {
            const int node = owner(begin);
            for (end = begin + 1; end < count_ && end - begin < grain_ && owner(end) == node;) ++end;
            lots_[node].pieces.emplace_back(begin, end);
        }
    }
    bool next_of_lots(int64_t& begin, int64_t& end);

    std::atomic<int64_t> next_{0};
    int64_t count_, grain_, least_, shares_;
    std::unique_ptr<Lot[]> lots_;
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

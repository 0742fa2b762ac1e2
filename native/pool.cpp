#include "pool.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "cores.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pool {
namespace {

constexpr auto spin_time = std::chrono::microseconds(200);
constexpr int most_barriers = 16;

inline void relax() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Spins for `spin`, offering the core to others now and then, and after that sleeps, until the value is not `old`.
template <class T>
void wait_while(const std::atomic<T>& value, T old, std::chrono::nanoseconds spin) {
    if (spin.count())
        for (auto end = std::chrono::steady_clock::now() + spin; std::chrono::steady_clock::now() < end; std::this_thread::yield())
            for (int i = 0; i < 256; ++i) {
                if (value.load(std::memory_order_acquire) != old) return;
                relax();
            }
    while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

thread_local int barriers_passed;

class Team {
public:
    Team(int count, std::chrono::nanoseconds spin) : size(count), spin_(spin) {
        for (int i = 1; i < size; ++i) workers_.emplace_back([this, i] { serve(i); });
    }
    ~Team() {
        stop_ = true;
        epoch_.fetch_add(1);
        epoch_.notify_all();
        for (auto& worker : workers_) worker.join();
    }

    void run(const Job& job, bool everywhere) {
        job_ = job, failure_ = nullptr;
        left_.store(1);
        uint32_t epoch = epoch_.load() + 1;
        gate_.store(static_cast<uint64_t>(epoch) << 32 | 1);
        epoch_.store(epoch);
        epoch_.notify_all();
        work(0);
        if (everywhere)
            while (joined() < static_cast<uint32_t>(size)) std::this_thread::yield();
        uint32_t all = static_cast<uint32_t>(gate_.fetch_or(closed)) & count_mask;
        for (uint32_t left; (left = left_.load()) != all;) wait_while(left_, left, spin_);
        for (int i = 0; i < barriers_passed; ++i) barriers_[i].arrived.store(0), barriers_[i].open.store(0);
        if (failure_) std::rethrow_exception(failure_);
    }

    // The last of those who take part opens it. Whoever joins after that finds it open, and no pieces before it.
    void barrier() {
        if (barriers_passed == most_barriers) throw std::logic_error("more than 16 barriers in a job");
        Barrier& here = barriers_[barriers_passed];
        arrive();
        wait_while(here.open, 0u, spin_);
    }

    const int size;

private:
    struct alignas(64) Barrier {
        std::atomic<uint32_t> arrived{0}, open{0};
    };
    static constexpr uint64_t closed = 1u << 31;
    static constexpr uint32_t count_mask = (1u << 31) - 1;

    uint32_t joined() const { return static_cast<uint32_t>(gate_.load()) & count_mask; }

    void arrive() {
        Barrier& here = barriers_[barriers_passed++];
        if (here.open.load() || here.arrived.fetch_add(1) + 1 < joined()) return;
        here.open.store(1);
        here.open.notify_all();
    }

    void work(int thread) {
        barriers_passed = 0;
        try {
            job_.call(job_.work, thread, size);
        } catch (...) {
            std::lock_guard lock(failing_);
            if (!failure_) failure_ = std::current_exception();
            while (barriers_passed < most_barriers) arrive();  // so that nobody waits for this thread
        }
    }

    bool join(uint32_t epoch) {
        for (uint64_t gate = gate_.load(); gate >> 32 == epoch && !(gate & closed);)
            if (gate_.compare_exchange_weak(gate, gate + 1)) return true;
        return false;
    }

    void serve(int thread) {
        if (nodes::count() > 1) nodes::keep_to(nodes::owner(thread, size));
        for (uint32_t seen = 0;;) {
            wait_while(epoch_, seen, spin_);
            seen = epoch_.load();
            if (stop_) return;
            if (!join(seen)) continue;
            work(thread);
            left_.fetch_add(1);
            left_.notify_all();
        }
    }

    const std::chrono::nanoseconds spin_;  // none when threads outnumber processors: the late one needs one
    std::vector<std::thread> workers_;
    Job job_{};
    std::atomic<bool> stop_{false};
    std::mutex failing_;
    std::exception_ptr failure_;
    Barrier barriers_[most_barriers];
    alignas(64) std::atomic<uint32_t> epoch_{0};  // of the job that workers should look at
    alignas(64) std::atomic<uint64_t> gate_{0};   // its epoch, whether it is closed, how many have joined
    alignas(64) std::atomic<uint32_t> left_{0};   // how many are done; the caller counts from the start
};

std::mutex turn;
Team* team = nullptr;  // never deleted at exit: a daemon thread may be using it
std::atomic<int> wanted{0};

// A child process has none of the parent's threads: it leaves their team behind and makes its own when first asked.
void forget_team() {
    new (&turn) std::mutex;
    team = nullptr;
}

Team& current() {
    static const int registered = pthread_atfork(nullptr, nullptr, forget_team);
    (void)registered;
    if (team && team->size != threads()) {
        delete team;
        team = nullptr;
    }
    if (!team) team = new Team(threads(), threads() <= processors() ? spin_time : spin_time * 0);
    return *team;
}

}  // namespace

int threads() {
    static const int usual = cores();
    int count = wanted.load(std::memory_order_relaxed);
    return count ? count : usual;
}

void set_threads(int count) {
    if (count < 1 || count > 1024) throw std::invalid_argument("threads: " + std::to_string(count) + ", allowed are 1 to 1024");
    std::lock_guard lock(turn);
    wanted.store(count);
}

bool Pieces::next_of_lots(int64_t& begin, int64_t& end) {
    for (int i = 0, near = nodes::here(), count = nodes::count(); i < count; ++i) {
        Lot& lot = lots_[(near + i) % count];
        const size_t piece = lot.next.fetch_add(1, std::memory_order_relaxed);
        if (piece < lot.pieces.size()) return std::tie(begin, end) = lot.pieces[piece], true;
    }
    return false;
}

void start(const Job& job, bool everywhere) {
    std::lock_guard lock(turn);
    current().run(job, everywhere);
}

void barrier() {
    if (team->size > 1) team->barrier();
}

}  // namespace pool

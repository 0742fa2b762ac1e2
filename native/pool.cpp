#include "pool.h"

#include <chrono>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pool {
namespace {

constexpr auto spin_time = std::chrono::microseconds(200);

inline void relax() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Spins for spin_time, then sleeps until the value is no longer `old`. On a machine where another process holds a core
// the sleep lets that core go; pure spinning would burn the time slice that the late thread needs.
void wait_while(const std::atomic<uint32_t>& value, uint32_t old) {
    for (auto deadline = std::chrono::steady_clock::now() + spin_time; std::chrono::steady_clock::now() < deadline;)
        for (int i = 0; i < 64; ++i) {
            if (value.load(std::memory_order_acquire) != old) return;
            relax();
        }
    while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

struct Team {
    explicit Team(int count) : size(count) {
        for (int i = 1; i < size; ++i) workers.emplace_back([this, i] { serve(i); });
    }
    ~Team() {
        job = nullptr;
        epoch.fetch_add(1, std::memory_order_release);
        epoch.notify_all();
        for (auto& worker : workers) worker.join();
    }

    void serve(int thread) {
        for (uint32_t seen = 0;;) {
            wait_while(epoch, seen);
            seen = epoch.load(std::memory_order_acquire);
            if (!job) return;
            (*job)(thread, size);
            arrive(running);
        }
    }

    void run(const Work& work) {
        job = &work;
        running.store(size - 1, std::memory_order_relaxed);
        epoch.fetch_add(1, std::memory_order_release);
        epoch.notify_all();
        work(0, size);
        for (uint32_t left; (left = running.load(std::memory_order_acquire)) != 0;) wait_while(running, left);
    }

    void barrier() {
        uint32_t round = barrier_round.load(std::memory_order_relaxed);
        if (barrier_count.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<uint32_t>(size)) {
            barrier_count.store(0, std::memory_order_relaxed);
            barrier_round.fetch_add(1, std::memory_order_release);
            barrier_round.notify_all();
        } else {
            wait_while(barrier_round, round);
        }
    }

    static void arrive(std::atomic<uint32_t>& count) {
        if (count.fetch_sub(1, std::memory_order_acq_rel) == 1) count.notify_all();
    }

    const int size;
    std::vector<std::thread> workers;
    const Work* job = nullptr;
    alignas(64) std::atomic<uint32_t> epoch{0};
    alignas(64) std::atomic<uint32_t> running{0};
    alignas(64) std::atomic<uint32_t> barrier_count{0};
    alignas(64) std::atomic<uint32_t> barrier_round{0};
};

std::mutex turn;
std::unique_ptr<Team> team;

Team& current() {
    if (!team) team = std::make_unique<Team>(std::max(1u, std::thread::hardware_concurrency()));
    return *team;
}

}  // namespace

int threads() { return current().size; }

void set_threads(int count) {
    if (count < 1 || count > 1024) throw std::invalid_argument("threads: " + std::to_string(count) + ", allowed are 1 to 1024");
    std::lock_guard lock(turn);
    if (team && team->size == count) return;
    team.reset();
    team = std::make_unique<Team>(count);
}

void run(const Work& work) {
    std::lock_guard lock(turn);
    Team& now = current();
    if (now.size == 1) work(0, 1);
    else now.run(work);
}

void barrier() {
    if (team->size > 1) team->barrier();
}

}  // namespace pool

#include "bind.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <new>

#include "ops/probe/probe.h"
#include "pool.h"

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// The sums of the probes end here, so that no compiler may leave the loops out.
std::atomic<uint64_t> sink;

// Large pages where the system grants them: the limit looked for is the memory's, not the page tables'.
class Buffer {
public:
    explicit Buffer(int64_t bytes) : bytes_(bytes) {
        void* at = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) throw std::bad_alloc();
        data_ = static_cast<uint8_t*>(at);
#if defined(MADV_HUGEPAGE)
        madvise(data_, bytes_, MADV_HUGEPAGE);
#endif
        pool::parallel(bytes_, piece, [&](int64_t begin, int64_t end) { std::memset(data_ + begin, 1, end - begin); });
    }
    ~Buffer() { munmap(data_, bytes_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    void read_once() const {
        auto read = probe_table().read;
        pool::parallel(bytes_, piece, [&](int64_t begin, int64_t end) { sink += read(data_ + begin, end - begin); });
    }

private:
    static constexpr int64_t piece = 1 << 21;
    int64_t bytes_;
    uint8_t* data_;
};

std::vector<double> read_bandwidth(int64_t bytes, double seconds) {
    if (bytes < 512 || bytes % 512) throw nb::value_error("probe_read_bandwidth: bytes must be a positive multiple of 512");
    nb::gil_scoped_release release;
    Buffer buffer(bytes);
    std::vector<double> rates;
    for (auto begin = Clock::now(); rates.empty() || since(begin) < seconds;) {
        auto pass = Clock::now();
        buffer.read_once();
        rates.push_back(static_cast<double>(bytes) / since(pass));
    }
    return rates;
}

const ProbeTable::Rate& rate(const std::string& kind) {
    if (kind == "int8") return probe_table().int8;
    if (kind == "bf16") return probe_bf16();
    if (kind == "f32") return probe_table().f32;
    throw nb::value_error("probe_multiply_adds: kind must be int8, bf16 or f32");
}

std::vector<double> multiply_adds(const std::string& kind, double seconds) {
    constexpr int64_t rounds = 100000;
    const auto& probe = rate(kind);
    nb::gil_scoped_release release;
    std::vector<double> rates;
    for (auto begin = Clock::now(); rates.empty() || since(begin) < seconds;) {
        auto pass = Clock::now();
        pool::run_everywhere([&](int, int) { sink += probe.work(rounds); });
        rates.push_back(static_cast<double>(rounds * probe.adds_per_round * pool::threads()) / since(pass));
    }
    return rates;
}

}  // namespace

void bind_probe(nb::module_& m) {
    m.def("probe_read_bandwidth", &read_bandwidth, nb::arg("bytes"), nb::arg("seconds"));
    m.def("probe_multiply_adds", &multiply_adds, nb::arg("kind"), nb::arg("seconds"));
}

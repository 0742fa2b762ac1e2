#include "cores.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace {

std::vector<int> allowed() {
    std::vector<int> found;
#if defined(__linux__)
    constexpr int most = 1 << 16, word = 8 * sizeof(unsigned long);
    std::vector<unsigned long> mask(most / word);
    if (!sched_getaffinity(0, most / 8, reinterpret_cast<cpu_set_t*>(mask.data())))
        for (int i = 0; i < most; ++i)
            if (mask[i / word] >> i % word & 1) found.push_back(i);
#endif
    if (found.empty())
        for (int i = 0; i < static_cast<int>(std::thread::hardware_concurrency()); ++i) found.push_back(i);
    return found;
}

std::string first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

std::string siblings(const std::string& topology, int processor) {
    const std::string folder = topology + "/cpu" + std::to_string(processor);
    const std::string told = first_line(folder + "/topology/core_cpus_list");
    return told.empty() ? first_line(folder + "/topology/thread_siblings_list") : told;  // Linux before 5.3
}

// Of cpu.max, "QUOTA PERIOD" or "max PERIOD": as many as can be kept busy, the last one perhaps in part.
int quota(const std::string& group, int otherwise) {
    std::ifstream file(group + "/cpu.max");
    int64_t quota = 0, period = 0;
    if (!(file >> quota >> period) || quota <= 0 || period <= 0) return otherwise;
    return static_cast<int>(std::clamp<int64_t>((quota + period - 1) / period, 1, otherwise));
}

}  // namespace

int processors() { return std::max<int>(1, static_cast<int>(allowed().size())); }

int cores(const std::string& topology, const std::string& group) {
    std::set<std::string> distinct;
    for (int processor : allowed()) {
        const std::string told = siblings(topology, processor);
        distinct.insert(told.empty() ? std::to_string(processor) : told);
    }
    return quota(group, std::max<int>(1, static_cast<int>(distinct.size())));
}

int cores() { return cores("/sys/devices/system/cpu", "/sys/fs/cgroup"); }

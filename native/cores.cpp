#include "cores.h"

#include <algorithm>
#include <fstream>
#include <set>

#include "sysfs.h"

namespace {

std::string siblings(const std::string& topology, int processor) {
    const std::string folder = topology + "/cpu" + std::to_string(processor);
    const std::string told = sysfs::first_line(folder + "/topology/core_cpus_list");
    return told.empty() ? sysfs::first_line(folder + "/topology/thread_siblings_list") : told;  // Linux before 5.3
}

// Of cpu.max, "QUOTA PERIOD" or "max PERIOD": as many as can be kept busy, the last one perhaps in part.
int quota(const std::string& group, int otherwise) {
    std::ifstream file(group + "/cpu.max");
    int64_t quota = 0, period = 0;
    if (!(file >> quota >> period) || quota <= 0 || period <= 0) return otherwise;
    return static_cast<int>(std::clamp<int64_t>((quota + period - 1) / period, 1, otherwise));
}

}  // namespace

int processors() { return std::max<int>(1, static_cast<int>(sysfs::allowed_processors().size())); }

int cores(const std::string& topology, const std::string& group) {
    std::set<std::string> distinct;
    for (int processor : sysfs::allowed_processors()) {
        const std::string told = siblings(topology, processor);
        distinct.insert(told.empty() ? std::to_string(processor) : told);
    }
    return quota(group, std::max<int>(1, static_cast<int>(distinct.size())));
}

int cores() { return cores("/sys/devices/system/cpu", "/sys/fs/cgroup"); }

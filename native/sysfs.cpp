#include "sysfs.h"

#include <fstream>
#include <sstream>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace sysfs {

std::string first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

std::vector<int> numbers(const std::string& list) {
    std::vector<int> found;
    std::istringstream text(list);
    for (int first, last; text >> first;) {
        last = first;
        if (text.peek() == '-' && !(text.get(), text >> last)) break;
        for (int i = first; i <= last; ++i) found.push_back(i);
        if (text.get() != ',') break;
    }
    return found;
}

std::vector<int> allowed_processors() {
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

}  // namespace sysfs

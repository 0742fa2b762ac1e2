#include "nodes.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "sysfs.h"

namespace nodes {
namespace {

struct Node {
    int number;  // Linux's
    std::vector<int> processors;
};

std::vector<Node> look(const std::string& folder) {
    const std::vector<int> allowed = sysfs::allowed_processors();
    std::vector<Node> found;
    for (int number : sysfs::numbers(sysfs::first_line(folder + "/online"))) {
        Node node{number, {}};
        for (int processor : sysfs::numbers(sysfs::first_line(folder + "/node" + std::to_string(number) + "/cpulist")))
            if (std::binary_search(allowed.begin(), allowed.end(), processor)) node.processors.push_back(processor);
        if (!node.processors.empty()) found.push_back(node);
    }
    return found;
}

std::vector<Node>& all() {
    static std::vector<Node> found = look("/sys/devices/system/node");
    return found;
}

}  // namespace

int count() { return std::max<int>(1, static_cast<int>(all().size())); }

int find(const std::string& folder) {
    all() = look(folder);
    return count();
}

#if defined(SYS_set_mempolicy) && defined(SYS_move_pages)

namespace {

// mempolicy.h of Linux, which not every system has the header of.
constexpr int by_default = 0, interleaved = 3, move = 2;
constexpr unsigned long allowed_nodes = 4;  // MPOL_F_MEMS_ALLOWED
constexpr unsigned long most_nodes = 1024, word = 8 * sizeof(unsigned long);
constexpr int64_t large_page = 2 << 20, batch = 1 << 14;

int policy() {
    int mode = by_default;
    return syscall(SYS_get_mempolicy, &mode, nullptr, 0ul, nullptr, 0ul) ? -1 : mode;
}

// A large page moves as one, so all of its pages ask for the same: the owner of its middle.
int wish(uintptr_t page, uintptr_t matrix, int64_t bytes) {
    const int64_t middle = static_cast<int64_t>(page / large_page * large_page + large_page / 2) - static_cast<int64_t>(matrix);
    return all()[owner(std::clamp<int64_t>(middle, 0, bytes - 1), bytes)].number;
}

}  // namespace

int here() {
    const int processor = sched_getcpu();
    for (int node = 0; node < count(); ++node)
        if (const auto& own = all()[node].processors; std::binary_search(own.begin(), own.end(), processor)) return node;
    return 0;
}

void keep_to(int node) {
    std::vector<unsigned long> mask;
    for (int processor : all()[node].processors) {
        mask.resize(std::max<size_t>(mask.size(), processor / word + 1));
        mask[processor / word] |= 1ul << processor % word;
    }
    sched_setaffinity(0, mask.size() * sizeof(unsigned long), reinterpret_cast<const cpu_set_t*>(mask.data()));
}

void place(const uint8_t* matrix, int64_t bytes) {
    if (count() == 1 || bytes / count() < large_page || policy() != by_default) return;
    const uintptr_t begin = reinterpret_cast<uintptr_t>(matrix), page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    std::vector<void*> pages;
    std::vector<int> wishes, told(batch);
    for (uintptr_t at = (begin + page - 1) / page * page; at < begin + bytes; at += page) {
        pages.push_back(reinterpret_cast<void*>(at)), wishes.push_back(wish(at, begin, bytes));
        if (static_cast<int64_t>(pages.size()) < batch && at + page < begin + bytes) continue;
        syscall(SYS_move_pages, 0, pages.size(), pages.data(), wishes.data(), told.data(), move);
        pages.clear(), wishes.clear();
    }
}

bool spread(bool on) {
    unsigned long nodes[most_nodes / word] = {};
    if (policy() != (on ? by_default : interleaved)) return false;
    if (!on) return !syscall(SYS_set_mempolicy, by_default, nullptr, 0ul);
    return !syscall(SYS_get_mempolicy, nullptr, nodes, most_nodes, nullptr, allowed_nodes) &&
           !syscall(SYS_set_mempolicy, interleaved, nodes, most_nodes);
}

#else

int here() { return 0; }
void keep_to(int) {}
void place(const uint8_t*, int64_t) {}
bool spread(bool) { return false; }

#endif

}  // namespace nodes

#include "nodes.h"

#include <sys/syscall.h>
#include <unistd.h>

#if defined(SYS_set_mempolicy)

namespace {

// mempolicy.h of Linux, which not every system has the header of.
constexpr int by_default = 0, interleaved = 3;
constexpr unsigned long allowed_nodes = 4;  // MPOL_F_MEMS_ALLOWED
constexpr unsigned long most_nodes = 1024, word = 8 * sizeof(unsigned long);

int policy() {
    int mode = by_default;
    return syscall(SYS_get_mempolicy, &mode, nullptr, 0ul, nullptr, 0ul) ? -1 : mode;
}

}  // namespace

bool spread_over_nodes(bool spread) {
    unsigned long nodes[most_nodes / word] = {};
    if (policy() != (spread ? by_default : interleaved)) return false;
    if (!spread) return !syscall(SYS_set_mempolicy, by_default, nullptr, 0ul);
    return !syscall(SYS_get_mempolicy, nullptr, nodes, most_nodes, nullptr, allowed_nodes) &&
           !syscall(SYS_set_mempolicy, interleaved, nodes, most_nodes);
}

#else

bool spread_over_nodes(bool) { return false; }

#endif

#include "large_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "pool.h"

#if defined(MREMAP_FIXED) && defined(MADV_HUGEPAGE)

namespace {

constexpr int64_t large = 2 << 20, stretch = 64 << 20;  // a stretch at a time, so that memory holds few bytes twice

uint8_t* round_up(uint8_t* p) {
    return reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(p) + large - 1) / large * large);
}

bool exchange(uint8_t* data, int64_t bytes, uint8_t* fresh) {
    if (madvise(fresh, bytes, MADV_HUGEPAGE)) return false;
    pool::parallel(bytes, large, [&](int64_t begin, int64_t end) { std::memcpy(fresh + begin, data + begin, end - begin); });
    return !mprotect(fresh, bytes, PROT_READ) && mremap(fresh, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, data) != MAP_FAILED;
}

bool exchange_stretch(uint8_t* data, int64_t bytes) {
    int64_t room = bytes + large;
    void* at = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return false;
    uint8_t *begin = static_cast<uint8_t*>(at), *fresh = round_up(begin);
    bool done = exchange(data, bytes, fresh);
    if (!done) return munmap(at, room), false;
    if (fresh > begin) munmap(begin, fresh - begin);
    if (fresh + bytes < begin + room) munmap(fresh + bytes, begin + room - fresh - bytes);
    return true;
}

}  // namespace

int64_t exchange_for_large_pages(uint8_t* data, int64_t bytes) {
    uint8_t *begin = round_up(data), *end = data + bytes;
    int64_t whole = end > begin ? (end - begin) / large * large : 0, done = 0;
    while (done < whole) {
        int64_t next = std::min(stretch, whole - done);
        if (!exchange_stretch(begin + done, next)) break;
        done += next;
    }
    return done;
}

#else

int64_t exchange_for_large_pages(uint8_t*, int64_t) { return 0; }

#endif

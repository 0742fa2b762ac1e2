#include "buffers.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <new>
#include <vector>

namespace buffers {
namespace {

constexpr size_t most_kept = size_t{256} << 20, header = 64;  // the header holds the block's size
constexpr size_t page = 4096;

// Of one size. idle: how many, at the front, have lain there all the time since `let_go`.
struct Shelf {
    std::vector<void*> blocks;
    size_t idle = 0;
};

struct Kept {
    std::mutex mutex;
    std::map<size_t, Shelf> shelves;
    size_t bytes = 0;
};

Kept* make_kept();

// Never destroyed: arrays outlive the module at exit.
Kept& kept() {
    static Kept* all = make_kept();
    return *all;
}

// A forked child finds the shelves whole and free, whichever thread was at them.
Kept* make_kept() {
    pthread_atfork([] { kept().mutex.lock(); }, [] { kept().mutex.unlock(); }, [] { kept().mutex.unlock(); });
    return new Kept;
}

// Of a block with its header: four sizes for each power of two, so that steps of about as many tokens share blocks.
size_t rounded(size_t bytes) {
    size_t whole = bytes + header, step = std::max(page, std::bit_floor(whole) / 4);
    return (whole + step - 1) / step * step;
}

void* reuse(size_t size) {
    std::lock_guard lock(kept().mutex);
    auto found = kept().shelves.find(size);
    if (found == kept().shelves.end() || found->second.blocks.empty()) return nullptr;
    Shelf& shelf = found->second;
    void* block = shelf.blocks.back();
    shelf.blocks.pop_back();
    shelf.idle = std::min(shelf.idle, shelf.blocks.size());
    kept().bytes -= size;
    return block;
}

// Straight from the system: between other things in the allocator's memory they would leave holes behind.
void* allocate(size_t size) {
    void* block = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) throw std::bad_alloc();
    *static_cast<size_t*>(block) = size;
    return block;
}

}  // namespace

void* take(size_t bytes) {
    size_t size = rounded(bytes);
    void* block = reuse(size);
    return static_cast<char*>(block ? block : allocate(size)) + header;
}

void drop(void* memory) {
    void* block = static_cast<char*>(memory) - header;
    size_t size = *static_cast<size_t*>(block);
    {
        std::lock_guard lock(kept().mutex);
        if (kept().bytes + size <= most_kept) {
            kept().shelves[size].blocks.push_back(block);
            kept().bytes += size;
            return;
        }
    }
    munmap(block, size);
}

size_t let_go() {
    std::lock_guard lock(kept().mutex);
    size_t bytes = 0;
    for (auto& [size, shelf] : kept().shelves) {
        auto end = shelf.blocks.begin() + static_cast<std::ptrdiff_t>(shelf.idle);
        std::for_each(shelf.blocks.begin(), end, [bytes = size](void* block) { munmap(block, bytes); });
        shelf.blocks.erase(shelf.blocks.begin(), end);
        bytes += shelf.idle * size;
        shelf.idle = shelf.blocks.size();
    }
    kept().bytes -= bytes;
    return bytes;
}

}  // namespace buffers

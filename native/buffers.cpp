#include "buffers.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <vector>

namespace buffers {
namespace {

constexpr size_t most_kept = size_t{256} << 20, header = 64;  // the header holds the block's size

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

// Never destroyed: arrays outlive the module at exit.
Kept& kept() {
    static Kept* all = new Kept;
    return *all;
}

// Four sizes for each power of two, so that steps of about as many tokens share blocks.
size_t rounded(size_t bytes) {
    size_t step = std::bit_floor(bytes | 4096) / 4;
    return (bytes + step - 1) / step * step;
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

void* allocate(size_t size) {
    void* block = std::aligned_alloc(64, header + size);
    if (!block) throw std::bad_alloc();
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
    std::free(block);
}

size_t let_go() {
    std::lock_guard lock(kept().mutex);
    size_t bytes = 0;
    for (auto& [size, shelf] : kept().shelves) {
        auto end = shelf.blocks.begin() + static_cast<std::ptrdiff_t>(shelf.idle);
        std::for_each(shelf.blocks.begin(), end, std::free);
        shelf.blocks.erase(shelf.blocks.begin(), end);
        bytes += shelf.idle * size;
        shelf.idle = shelf.blocks.size();
    }
    kept().bytes -= bytes;
    return bytes;
}

}  // namespace buffers

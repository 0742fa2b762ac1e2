#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>

// Scratch memory of one thread, kept from call to call so that a token allocates nothing. Aligned to 64 bytes.
class Workspace {
public:
    ~Workspace() { std::free(memory_); }

    template <class T>
    T* get(int64_t count) {
        size_t bytes = (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
        if (bytes > size_) {
            std::free(memory_);
            memory_ = std::aligned_alloc(64, bytes);
            size_ = memory_ ? bytes : 0;
            if (!memory_) throw std::bad_alloc();
        }
        return static_cast<T*>(memory_);
    }

private:
    void* memory_ = nullptr;
    size_t size_ = 0;
};

#pragma once

#include <cstddef>

// Memory of the arrays that ops give. What one layer drops the next one takes: pages fresh from the system cost more than
// many an op that fills them. Blocks are aligned to 64 bytes; those that are dropped are kept, up to 256 MiB.
namespace buffers {

void* take(size_t bytes);  // throws std::bad_alloc
void drop(void* block);
size_t let_go();           // of the kept blocks that were not wanted since the last call; returns their bytes

}  // namespace buffers

#pragma once

#include <vector>

#include "ops/attention/row_tile.h"
#include "ops/linear/linear.h"
#include "ops/mla/mla.h"
#include "workspace.h"

// A sequence with many new tokens. Its latents are read and rounded once, span after span; a task is one head, for which
// keys and values are made of a span, stretch after stretch, and all the sequence's query rows pass over them.
class Expanded {
public:
    Expanded(const Mla& problem, int64_t sequence);

    void run();

private:
    void attend_span(int64_t first, int64_t keys);
    void read(int64_t position, int64_t i);                        // -> row i of the span
    void head_over(int64_t head, int64_t first, int64_t keys);
    void finish(int64_t head) const;

    const Mla& mla_;
    int64_t sequence_, rows_, length_, stride_;
    std::vector<RowTile> tiles_;  // of all heads, each head's one after another
    float* sums_;                 // (heads, rows, stride)
    float *latents_, *turned_;    // of the span: (keys, rank), (keys, rope)
    Chunk* chunks_;               // the latents as int8, where a matrix is multiplied so
    uint16_t* in_tiles_;          // and in bfloat16, where tiles multiply one
};

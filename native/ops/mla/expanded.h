#pragma once

#include "ops/mla/mla.h"
#include "pool.h"

// Sequences with many new tokens each. A task is one head of one sequence: stretch after stretch its keys and values are
// made from the latents, and all the sequence's query rows pass over them.
class Expanded {
public:
    Expanded(const Mla& problem, const std::vector<int64_t>& sequences);

    int64_t work() const;
    void run();  // by whichever threads call it

private:
    void head_of(int64_t sequence, int64_t head) const;

    const Mla& mla_;
    const std::vector<int64_t>& sequences_;
    pool::Pieces tasks_;
};

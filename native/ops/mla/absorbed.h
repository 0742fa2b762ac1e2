#pragma once

#include "ops/attention/step.h"
#include "ops/mla/latent.h"
#include "ops/mla/mla.h"

// Sequences with few new tokens each: every head's query is brought into the latents' space, so that all heads read the
// same cached rows, and the weighted sum of latents is brought back.
class Absorbed {
public:
    Absorbed(const Mla& problem, const std::vector<int64_t>& sequences);

    int64_t work() const;
    // By whichever threads call it.
    template <class Barrier>
    void run(const Barrier& barrier) {
        for (int64_t head, end; absorbing_.next(head, end);) absorb(head);
        barrier();
        attend(problem_, plan_, parts_, attending_, merging_, barrier, latent_task(problem_.keys, mla_.rank));
        barrier();
        for (int64_t head, end; raising_.next(head, end);) raise(head);
    }

private:
    int64_t count() const { return static_cast<int64_t>(tokens_.size()); }
    void absorb(int64_t head);        // queries of a head -> latent space
    void absorb_rows(int64_t head);   // by (nope, rank)
    void absorb_columns(int64_t head);  // by (rank, nope)
    void raise(int64_t head);         // weighted latents of a head -> its values

    const Mla& mla_;
    std::vector<int32_t> positions_, starts_, lengths_, pages_;
    std::vector<int64_t> tokens_;     // of the whole batch
    float *q_, *mixed_;               // (count, heads, rank + rope), (count, heads, rank)
    Attend problem_;
    AttendPlan plan_;
    AttendParts parts_;
    pool::Pieces absorbing_, attending_, merging_, raising_;
};

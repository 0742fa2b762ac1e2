#pragma once

#include <cstdint>

#include "ops/attention/attention.h"

// What one step computes, as divebell.ops.batch.Batch says it. Checked before it gets here: positions lie below their
// sequence's length, lengths within the page table, and page numbers of used positions within the cache.
struct Batch {
    const int32_t *positions, *starts, *lengths, *pages;
    int64_t sequences, tokens, table_width;

    int64_t count(int64_t s) const { return starts[s + 1] - starts[s]; }
};

// How the tokens of a page lie.
//   rows   one after another, float32 or bfloat16
//   pairs  bfloat16, two tokens in a row of twice the width: two numbers of the one, two of the other, and so on
//   quads  bytes, four tokens in a row of four times the width: four numbers of each in turn. A byte b is worth
//          (b - 128) * scale; behind the rows come each token's scale of its first `rank` numbers, and each one's of the rest
// Places of tokens that were not written yet hold anything.
enum class Layout { rows, pairs, quads };

// One component of the cache: pages of `page` tokens of `width` numbers.
struct Pages {
    uint8_t* data;
    bool bfloat;
    int64_t page, width;
    Layout layout = Layout::rows;
    int64_t rank = 0;

    int64_t size() const { return layout == Layout::quads ? 1 : bfloat ? 2 : 4; }
    int64_t page_bytes() const { return page * (width * size() + (layout == Layout::quads ? 8 : 0)); }
    uint8_t* page_of(const Batch& batch, int64_t s, int64_t position) const {
        return data + batch.pages[s * batch.table_width + position / page] * page_bytes();
    }
    // Where a position's row begins; of several tokens in a row, the first one's.
    uint8_t* row(const Batch& batch, int64_t s, int64_t position) const {
        return page_of(batch, s, position) + position % page * width * size();
    }
    // Of `page` positions each, of quads: for the first `rank` numbers, and for the rest.
    float* scales(const Batch& batch, int64_t s, int64_t position) const {
        return reinterpret_cast<float*>(page_of(batch, s, position) + page * width);
    }
    // Rows first .. first + count of sequence s, from their number `column` on. Quads are made float32 in memory of the
    // calling thread, until its next call.
    RowSet rows(const Batch& batch, int64_t s, int64_t first, int count, int64_t column) const;
    // Brings n numbers of the same rows into L2: by loads in the order in which they lie, which the hardware runs ahead of as
    // it does not of prefetches.
    void bring(const Batch& batch, int64_t s, int64_t first, int count, int64_t column, int64_t n) const;
    // n numbers of a position's row, from number `column` on, as float32; n and column even, of quads multiples of 4 on
    // one side of `rank`.
    void read(const Batch& batch, int64_t s, int64_t position, int64_t column, int64_t n, float* out) const;
    // Row t of x (tokens, width) goes to where token t of the batch belongs. Rows begin .. end.
    void write(const Batch& batch, const float* x, int64_t begin, int64_t end) const;

private:
    void read_pair(const Batch& batch, int64_t s, int64_t position, int64_t column, int64_t n, float* out) const;
    void read_quad(const Batch& batch, int64_t s, int64_t position, int64_t column, int64_t n, float* out) const;
    RowSet quad_rows(const Batch& batch, int64_t s, int64_t first, int count) const;
    void write_in_pair(const Batch& batch, int64_t s, int64_t position, const float* x) const;
    void write_in_quad(const Batch& batch, int64_t s, int64_t position, const float* x) const;
};

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

// One component of the cache: pages of `page` rows of `width` numbers. In pairs, two tokens share a row of twice the width:
// two numbers of the one, two of the other, and so on. (An odd number of tokens leaves what lay there in the second places.)
struct Pages {
    uint8_t* data;
    bool bfloat;
    int64_t page, width;
    bool paired = false;

    int64_t size() const { return bfloat ? 2 : 4; }
    // Where a position's own row begins, unless tokens lie in pairs; there, if it is even, its pair's row.
    uint8_t* row(const Batch& batch, int64_t s, int64_t position) const {
        int64_t page_number = batch.pages[s * batch.table_width + position / page];
        return data + (page_number * page + position % page) * width * size();
    }
    // Rows first .. first + count of sequence s, from their number `column` on.
    RowSet rows(const Batch& batch, int64_t s, int64_t first, int count, int64_t column) const;
    // n numbers of a position's row, from number `column` on, as float32; both even.
    void read(const Batch& batch, int64_t s, int64_t position, int64_t column, int64_t n, float* out) const;
    // Row t of x (tokens, width) goes to where token t of the batch belongs. Rows begin .. end.
    void write(const Batch& batch, const float* x, int64_t begin, int64_t end) const;

private:
    void write_in_pair(const float* x, uint8_t* into) const;
};

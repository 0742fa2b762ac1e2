#pragma once

#include "bind.h"
#include "ops/attention/cache.h"

// What Python passes, checked.
struct BatchArrays {
    Array<int32_t, 1> positions, starts, lengths;
    Array<int32_t, 2> pages;
};

// ValueError where the arrays contradict each other or a used page lies outside a cache of `num_pages` pages.
Batch checked_batch(const BatchArrays& arrays, int64_t tokens, int64_t num_pages, int64_t page);

using PageArray = nb::ndarray<nb::ndim<3>, nb::c_contig, nb::device::cpu>;

// float32, or bfloat16 seen as uint16; ValueError for anything else, or for another width.
Pages checked_pages(const PageArray& array, int64_t width);

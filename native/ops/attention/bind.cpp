#include "bind.h"

#include <algorithm>
#include <string>

#include "ops/attention/arrays.h"
#include "ops/attention/step.h"

namespace {

[[noreturn]] void refuse(const std::string& what) { throw nb::value_error(what.c_str()); }

void check_sequence(const Batch& batch, int64_t s, int64_t num_pages, int64_t page) {
    int64_t length = batch.lengths[s], used = (length + page - 1) / page;
    if (batch.count(s) < 0 || length < 0 || used > batch.table_width)
        refuse("batch: sequence " + std::to_string(s) + " has length " + std::to_string(length) + ", its page table room for " +
               std::to_string(batch.table_width * page));
    for (int64_t t = batch.starts[s]; t < batch.starts[s + 1]; ++t)
        if (batch.positions[t] < 0 || batch.positions[t] >= length || (t > batch.starts[s] && batch.positions[t] < batch.positions[t - 1]))
            refuse("batch: position " + std::to_string(batch.positions[t]) + " of sequence " + std::to_string(s) +
                   " is out of order or not below its length " + std::to_string(length));
    for (int64_t i = 0; i < used; ++i) {
        int64_t number = batch.pages[s * batch.table_width + i];
        if (number < 0 || number >= num_pages)
            refuse("batch: page " + std::to_string(number) + " of sequence " + std::to_string(s) + ", the cache has " + std::to_string(num_pages));
    }
}

int64_t length(const Array<int32_t, 1>& x) { return static_cast<int64_t>(x.shape(0)); }

void attention(Array<float, 3> q, Array<float, 3> k, Array<float, 3> v, PageArray key_pages, PageArray value_pages,
               Array<int32_t, 1> positions, Array<int32_t, 1> starts, Array<int32_t, 1> lengths, Array<int32_t, 2> page_table,
               float scale, int64_t window, Out<float, 2> out) {
    int64_t tokens = q.shape(0), heads = q.shape(1), key_heads = k.shape(1), dim = q.shape(2), value_dim = v.shape(2);
    if (static_cast<int64_t>(k.shape(0)) != tokens || static_cast<int64_t>(v.shape(0)) != tokens || static_cast<int64_t>(k.shape(2)) != dim ||
        v.shape(1) != k.shape(1) || key_heads < 1 || heads % key_heads || dim < 1 || value_dim < 1)
        refuse("attention: q, k and v contradict each other in shape");
    if (static_cast<int64_t>(out.shape(0)) != tokens || static_cast<int64_t>(out.shape(1)) != heads * value_dim) refuse("attention: out differs in shape");
    if (window < 0) refuse("attention: window " + std::to_string(window) + " is negative");
    Pages keys = checked_pages(key_pages, key_heads * dim), values = checked_pages(value_pages, key_heads * value_dim);
    if (key_pages.shape(0) != value_pages.shape(0) || keys.page != values.page) refuse("attention: key and value pages differ in number or size");
    perform("attention", [=] {
        Batch batch = checked_batch({positions, starts, lengths, page_table}, tokens, static_cast<int64_t>(key_pages.shape(0)), keys.page);
        write(keys, batch, k.data());
        write(values, batch, v.data());
        Attend problem{batch, keys, values, q.data(), out.data(), key_heads, heads / key_heads, dim, value_dim, scale, window, value_dim};
        AttendPlan tasks;
        plan(problem, &tasks);
        AttendParts parts = parts_of(tasks, value_dim);
        pool::Pieces pieces(static_cast<int64_t>(tasks.tasks.size()), 1), merges(static_cast<int64_t>(tasks.merges.size()), 1);
        region(tasks.work, [&](auto barrier) { attend(problem, tasks, parts, pieces, merges, barrier); });
    });
}

}  // namespace

Batch checked_batch(const BatchArrays& arrays, int64_t tokens, int64_t num_pages, int64_t page) {
    int64_t sequences = length(arrays.lengths);
    if (length(arrays.positions) != tokens || length(arrays.starts) != sequences + 1 || static_cast<int64_t>(arrays.pages.shape(0)) != sequences)
        refuse("batch: positions, starts, lengths and pages contradict each other in shape");
    Batch batch{arrays.positions.data(), arrays.starts.data(), arrays.lengths.data(), arrays.pages.data(),
                sequences, tokens, static_cast<int64_t>(arrays.pages.shape(1))};
    if (batch.starts[0] != 0 || batch.starts[sequences] != tokens) refuse("batch: starts must run from 0 to the number of tokens");
    if (!std::is_sorted(batch.starts, batch.starts + sequences + 1)) refuse("batch: starts must not fall");
    for (int64_t s = 0; s < sequences; ++s) check_sequence(batch, s, num_pages, page);
    return batch;
}

Pages checked_pages(const PageArray& array, int64_t width) {
    bool bfloat = array.dtype() == nb::dtype<uint16_t>();
    if (!bfloat && array.dtype() != nb::dtype<float>()) refuse("cache: pages must be float32 or bfloat16");
    if (static_cast<int64_t>(array.shape(2)) != width || array.shape(1) < 1)
        refuse("cache: pages are " + std::to_string(array.shape(2)) + " wide, not " + std::to_string(width));
    return {static_cast<uint8_t*>(array.data()), bfloat, static_cast<int64_t>(array.shape(1)), width};
}

void bind_attention(nb::module_& m) {
    m.def("attention", &attention, nb::arg("q").noconvert(), nb::arg("k").noconvert(), nb::arg("v").noconvert(),
          nb::arg("key_pages").noconvert(), nb::arg("value_pages").noconvert(), nb::arg("positions").noconvert(),
          nb::arg("starts").noconvert(), nb::arg("lengths").noconvert(), nb::arg("page_table").noconvert(), nb::arg("scale"),
          nb::arg("window"), nb::arg("out").noconvert());
}

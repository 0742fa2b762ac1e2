#include "bind.h"

#include "isa.h"
#include "large_pages.h"
#include "pool.h"

namespace {

int64_t large_pages(Array<uint8_t, 1> mapped) {
    nb::gil_scoped_release release;
    return exchange_for_large_pages(const_cast<uint8_t*>(mapped.data()), static_cast<int64_t>(mapped.size()));
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "divebell's kernels; see divebell.ops.native for the contract of each.";
    m.attr("isa") = isa_name(isa());
    m.attr("bf16_dot") = has_bf16_dot();
    m.def("threads", &pool::threads);
    m.def("set_threads", &pool::set_threads, nb::call_guard<nb::gil_scoped_release>());
    m.def("large_pages", &large_pages, nb::arg("mapped").noconvert());
    bind_attention(m);
    bind_linear(m);
    bind_mla(m);
    bind_moe(m);
    bind_norm(m);
    bind_probe(m);
    bind_quantize(m);
    bind_rotate(m);
    bind_route(m);
    bind_sample(m);
}

#include "bind.h"

#include "isa.h"
#include "pool.h"

NB_MODULE(_native, m) {
    m.doc() = "divebell's kernels; see divebell.ops.native for the contract of each.";
    m.attr("isa") = isa_name(isa());
    m.attr("bf16_dot") = has_bf16_dot();
    m.def("threads", &pool::threads);
    m.def("set_threads", &pool::set_threads, nb::call_guard<nb::gil_scoped_release>());
    bind_attention(m);
    bind_linear(m);
    bind_mla(m);
    bind_moe(m);
    bind_norm(m);
    bind_probe(m);
    bind_rotate(m);
    bind_route(m);
    bind_sample(m);
}

#include "bind.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "buffers.h"
#include "cores.h"
#include "isa.h"
#include "large_pages.h"
#include "nodes.h"
#include "ops/linear/tiles.h"
#include "pool.h"

namespace {

int64_t large_pages(Array<uint8_t, 1> mapped) {
    nb::gil_scoped_release release;
    return exchange_for_large_pages(const_cast<uint8_t*>(mapped.data()), static_cast<int64_t>(mapped.size()));
}

void place_on_nodes(Array<uint8_t, 1> matrix) {
    nb::gil_scoped_release release;
    nodes::place(matrix.data(), static_cast<int64_t>(matrix.size()));
}

}  // namespace

using Floats = nb::ndarray<nb::numpy, float, nb::c_contig>;

Floats empty(const std::vector<size_t>& shape) {
    size_t count = 1;
    for (size_t length : shape)
        if (__builtin_mul_overflow(count, length, &count) || count > (size_t{1} << 40)) throw nb::value_error("empty: too large a shape");
    void* memory = buffers::take(count * sizeof(float));
    nb::capsule owner(memory, [](void* block) noexcept { buffers::drop(block); });
    return Floats(memory, shape.size(), shape.data(), owner);
}

void bind_recording(nb::module_& m) {
    nb::class_<Recording>(m, "Recording")
        .def(nb::init<>())
        .def("__enter__", [](Recording& self) { self.open(); })
        .def("__exit__", [](Recording& self, nb::args) { self.close(); })
        .def("run", &Recording::run, nb::call_guard<nb::gil_scoped_release>())
        .def("timed", &Recording::timed, nb::call_guard<nb::gil_scoped_release>());
}

NB_MODULE(_native, m) {
    m.doc() = "divebell's kernels; see divebell.ops.native for the contract of each.";
    m.attr("isa") = isa_name(isa());
    m.attr("bf16_dot") = has_bf16_dot();
    m.attr("tiles_from") = tile_table() ? tile_table()->from : 0;  // tokens, from which matrices in panels are multiplied in bfloat16; 0: never
    m.def("cores", nb::overload_cast<>(&cores));
    m.def("cores", nb::overload_cast<const std::string&, const std::string&>(&cores), nb::arg("topology"), nb::arg("group"));
    m.def("threads", &pool::threads);
    m.def("set_threads", &pool::set_threads, nb::call_guard<nb::gil_scoped_release>());
    m.def("large_pages", &large_pages, nb::arg("mapped").noconvert());
    m.def("nodes", &nodes::count);
    m.def("find_nodes", &nodes::find, nb::arg("folder"));
    m.def("place_on_nodes", &place_on_nodes, nb::arg("matrix").noconvert());
    m.def("spread_over_nodes", &nodes::spread, nb::arg("on"));
    m.def("empty", &empty, nb::arg("shape"));
    m.def("let_go", &buffers::let_go, nb::call_guard<nb::gil_scoped_release>());
    bind_recording(m);
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
    bind_strings(m);
}

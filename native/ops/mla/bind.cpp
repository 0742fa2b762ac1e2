#include "bind.h"

#include <nanobind/stl/vector.h>

#include <string>

#include "matrix.h"
#include "ops/attention/arrays.h"
#include "ops/mla/latent.h"
#include "ops/mla/mla.h"

namespace {

[[noreturn]] void refuse(const std::string& what) { throw nb::value_error(("mla: " + what).c_str()); }

// Python's `_native.UpProjections`; `owners` keeps the weights alive.
struct Ups {
    UpProjections up;
    std::vector<nb::object> owners;
};

using Matrices = std::vector<const Matrix*>;

void check_split(const Matrices& k_b, const Matrices& v_b) {
    if (k_b.size() != v_b.size()) refuse("k_b and v_b differ in heads");
    for (size_t h = 0; h < k_b.size(); ++h) {
        if (!k_b[h] || !v_b[h]) refuse("a weight is None");
        const Weight &k = k_b[h]->weight, &v = v_b[h]->weight;
        if (k.rows != v.cols || k.cols != k_b[0]->weight.cols || v.rows != v_b[0]->weight.rows || v.cols != v_b[0]->weight.cols)
            refuse("k_b must be (heads, rank, nope) and v_b (heads, v, rank)");
    }
}

// One matrix kv_b, or one k_b and one v_b for each head.
void make_up_projections(Ups* self, Matrices kv_b, Matrices k_b, Matrices v_b, nb::list owners) {
    UpProjections up;
    if (kv_b.size() > 1 || kv_b.empty() == k_b.empty() || (kv_b.size() && !kv_b[0])) refuse("give kv_b, or k_b and v_b");
    check_split(k_b, v_b);
    if (!kv_b.empty()) up.kv_b = &kv_b[0]->weight;
    for (const Matrix* matrix : k_b) up.k_b.push_back(&matrix->weight);
    for (const Matrix* matrix : v_b) up.v_b.push_back(&matrix->weight);
    std::vector<nb::object> kept;
    for (nb::handle owner : owners) kept.push_back(nb::borrow(owner));
    new (self) Ups{std::move(up), std::move(kept)};
}

void check_shape(const Mla& a, int64_t q_dim, int64_t out_width) {
    const UpProjections& up = *a.up;
    int64_t heads = up.split() ? static_cast<int64_t>(up.k_b.size()) : a.heads;
    int64_t nope = up.split() ? up.k_b[0]->cols : a.nope, rows = up.split() ? up.v_b[0]->rows * heads : up.kv_b->rows - heads * nope;
    if (a.heads < 1 || a.rope < 0 || a.nope < 1 || a.v < 1 || heads != a.heads || nope != a.nope || rows != a.heads * a.v)
        refuse(std::to_string(a.heads) + " heads of " + std::to_string(q_dim) + " numbers, a rank of " + std::to_string(a.rank) + " and results of " +
               std::to_string(out_width) + " do not fit the matrices");
}

// As checked_pages, or bytes in quads with 8 more for each token's scales.
Pages latent_pages(const PageArray& array, int64_t width, int64_t rank) {
    if (array.dtype() != nb::dtype<uint8_t>()) {
        Pages pages = checked_pages(array, width);
        if (pages.bfloat) pages.layout = bfloat_layout(pages, rank);
        return pages;
    }
    if (static_cast<int64_t>(array.shape(2)) != width + 8 || array.shape(1) % 4 || width % 4 || rank % 4)
        refuse("pages of bytes are " + std::to_string(array.shape(2)) + " wide, not " + std::to_string(width) + " + 8, or not in fours");
    return {static_cast<uint8_t*>(array.data()), false, static_cast<int64_t>(array.shape(1)), width, Layout::quads, rank};
}

void run(Array<float, 3> q, Array<float, 2> latent, PageArray page_array, const Ups& ups, Array<int32_t, 1> positions, Array<int32_t, 1> starts,
         Array<int32_t, 1> lengths, Array<int32_t, 2> page_table, float scale, Out<float, 2> out) {
    int64_t T = q.shape(0), heads = q.shape(1), dim = q.shape(2), width = latent.shape(1), rank = ups.up.rank();
    if (latent.shape(0) != q.shape(0) || out.shape(0) != q.shape(0)) refuse("q, latent and out differ in tokens");
    if (heads < 1 || static_cast<int64_t>(out.shape(1)) % heads) refuse("out does not fit " + std::to_string(heads) + " heads");
    Pages pages = latent_pages(page_array, width, rank);
    int64_t rope = width - rank, v = static_cast<int64_t>(out.shape(1)) / heads;
    Mla problem{{}, pages, &ups.up, q.data(), out.data(), heads, dim - rope, rope, rank, v, scale};
    check_shape(problem, dim, static_cast<int64_t>(out.shape(1)));
    perform("mla", [=] {
        Mla now = problem;
        now.batch = checked_batch({positions, starts, lengths, page_table}, T, static_cast<int64_t>(page_array.shape(0)), pages.page);
        mla(now, latent.data());
        (void)q, (void)out;  // kept
    });
}

}  // namespace

void bind_mla(nb::module_& m) {
    nb::class_<Ups>(m, "UpProjections")
        .def("__init__", &make_up_projections, nb::arg("kv_b"), nb::arg("k_b"), nb::arg("v_b"), nb::arg("owners"))
        .def_prop_ro("rank", [](const Ups& self) { return self.up.rank(); })
        .def_prop_ro("rows", [](const Ups& self) { return self.up.split() ? self.up.v_b[0]->rows * static_cast<int64_t>(self.up.v_b.size()) : self.up.kv_b->rows; })
        .def_prop_ro("split", [](const Ups& self) { return self.up.split(); });
    m.def("mla", &run, nb::arg("q").noconvert(), nb::arg("latent").noconvert(), nb::arg("pages").noconvert(), nb::arg("up"),
          nb::arg("positions").noconvert(), nb::arg("starts").noconvert(), nb::arg("lengths").noconvert(), nb::arg("page_table").noconvert(),
          nb::arg("scale"), nb::arg("out").noconvert());
}

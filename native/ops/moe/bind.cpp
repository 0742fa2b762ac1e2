#include "bind.h"

#include <nanobind/stl/vector.h>

#include <algorithm>
#include <string>

#include "matrix.h"
#include "ops/linear/multiply.h"
#include "ops/moe/feed_forward.h"
#include "pool.h"

namespace {

constexpr int64_t token_block = 2048;  // bounds the workspace; an expert's weights are unpacked once for each block

// Blocks of equal size: a last one of a few tokens would take another path than the rest.
int64_t block_size(int64_t T) {
    int64_t blocks = (T + token_block - 1) / token_block;
    return blocks ? (T + blocks - 1) / blocks : 1;
}

[[noreturn]] void refuse(const std::string& what) { throw nb::value_error(what.c_str()); }

Gated gated(const Matrix* gate, const Matrix* up, const Matrix* down, int64_t d) {
    if (!gate || !up || !down) refuse("feed-forward: a weight is None");
    const Weight &g = gate->weight, &u = up->weight, &o = down->weight;
    if (g.cols != d || u.cols != d || o.rows != d || u.rows != g.rows || o.cols != g.rows)
        refuse("feed-forward: gate (" + std::to_string(g.rows) + ", " + std::to_string(g.cols) + "), up (" + std::to_string(u.rows) + ", " +
               std::to_string(u.cols) + ") and down (" + std::to_string(o.rows) + ", " + std::to_string(o.cols) +
               ") do not fit a width of " + std::to_string(d));
    return {&g, &u, &o};
}

// Python's `_native.Experts`; `owners` keeps the weights alive.
struct Experts {
    std::vector<Gated> routed;
    std::vector<Gated> shared;  // at most one, which every token goes through
    int64_t d;
    std::vector<nb::object> owners;
};

using Matrices = std::vector<const Matrix*>;

void make_experts(Experts* self, Matrices gates, Matrices ups, Matrices downs, Matrices shared, nb::list owners) {
    if (gates.empty() || gates.size() != ups.size() || gates.size() != downs.size() || !gates[0])
        refuse("Experts: as many gates as ups and downs are needed, one at least");
    if (!shared.empty() && shared.size() != 3) refuse("Experts: shared is gate, up and down");
    int64_t d = gates[0]->weight.cols;
    std::vector<Gated> routed, always;
    for (size_t e = 0; e < gates.size(); ++e) routed.push_back(gated(gates[e], ups[e], downs[e], d));
    if (!shared.empty()) always.push_back(gated(shared[0], shared[1], shared[2], d));
    std::vector<nb::object> kept;
    for (nb::handle owner : owners) kept.push_back(nb::borrow(owner));
    new (self) Experts{std::move(routed), std::move(always), d, std::move(kept)};
}

// The tokens of each expert, in order, by counting.
struct Routing {
    std::vector<int64_t> starts;
    std::vector<int32_t> tokens;
    std::vector<float> weights;

    Routing(const int32_t* ids, const float* weight, int64_t T, int64_t k, size_t experts)
        : starts(experts + 1), tokens(T * k), weights(T * k) {
        for (int64_t i = 0; i < T * k; ++i) ++starts[ids[i] + 1];
        for (size_t e = 0; e < experts; ++e) starts[e + 1] += starts[e];
        std::vector<int64_t> next(starts.begin(), starts.end() - 1);
        for (int64_t i = 0; i < T * k; ++i) {
            int64_t at = next[ids[i]]++;
            tokens[at] = static_cast<int32_t>(i / k), weights[at] = weight[i];
        }
    }
};

void run_experts(const Experts& experts, const float* x, int64_t T, const int32_t* ids, const float* weights, int64_t k, float* y) {
    Routing routing(ids, weights, T, k, experts.routed.size());
    std::vector<Group> groups;
    for (size_t e = 0; e < experts.routed.size(); ++e) {
        int64_t begin = routing.starts[e], count = routing.starts[e + 1] - begin;
        if (count) groups.push_back({experts.routed[e], routing.tokens.data() + begin, routing.weights.data() + begin, count});
    }
    for (const Gated& net : experts.shared) groups.push_back({net, nullptr, nullptr, T});
    feed_forward(x, T, experts.d, groups, y);
}

void check_ids(const Array<int32_t, 2>& ids, int64_t experts) {
    for (size_t i = 0; i < ids.size(); ++i)
        if (ids.data()[i] < 0 || ids.data()[i] >= experts)
            refuse("moe: expert " + std::to_string(ids.data()[i]) + " is outside 0 to " + std::to_string(experts - 1));
}

void moe(Array<float, 2> x, Array<int32_t, 2> ids, Array<float, 2> weights, const Experts& experts, Out<float, 2> y) {
    int64_t T = static_cast<int64_t>(x.shape(0)), d = static_cast<int64_t>(x.shape(1)), k = static_cast<int64_t>(ids.shape(1));
    if (d != experts.d || y.shape(0) != x.shape(0) || y.shape(1) != x.shape(1)) refuse("moe: x or y differs in shape from the experts");
    if (ids.shape(0) != x.shape(0) || weights.shape(0) != ids.shape(0) || weights.shape(1) != ids.shape(1))
        refuse("moe: ids and weights must both be (T, k)");
    perform("moe", [=, experts = &experts] {
        check_ids(ids, static_cast<int64_t>(experts->routed.size()));
        for (int64_t t = 0, size = block_size(T); t < T; t += size)
            run_experts(*experts, x.data() + t * d, std::min(size, T - t), ids.data() + t * k, weights.data() + t * k, k, y.data() + t * d);
    });
}

void swiglu(Array<float, 2> x, const Matrix& gate, const Matrix& up, const Matrix& down, Out<float, 2> y) {
    int64_t T = static_cast<int64_t>(x.shape(0)), d = static_cast<int64_t>(x.shape(1));
    Gated net = gated(&gate, &up, &down, d);
    if (y.shape(0) != x.shape(0) || y.shape(1) != x.shape(1)) refuse("swiglu: y differs in shape from x");
    perform("swiglu", [=] {
        for (int64_t t = 0, size = block_size(T); t < T; t += size) {
            int64_t n = std::min(size, T - t);
            feed_forward(x.data() + t * d, n, d, {{net, nullptr, nullptr, n}}, y.data() + t * d);
        }
    });
}

void gate(Array<float, 2> gate, Array<float, 2> up, Out<float, 2> out) {
    int64_t T = static_cast<int64_t>(up.shape(0)), width = static_cast<int64_t>(up.shape(1));
    if (gate.shape(0) != up.shape(0) || gate.shape(1) != up.shape(1) || out.shape(0) != up.shape(0) || out.shape(1) != up.shape(1))
        refuse("gated: gate, up and out differ in shape");
    perform("gated", [=] {
        pool::parallel(T, std::max<int64_t>(1, 65536 / std::max<int64_t>(1, width)), [&](int64_t begin, int64_t end) {
            linear_table().swish(gate.data() + begin * width, up.data() + begin * width, out.data() + begin * width, (end - begin) * width);
        });
    });
}

}  // namespace

void bind_moe(nb::module_& m) {
    nb::class_<Experts>(m, "Experts")
        .def("__init__", &make_experts, nb::arg("gates"), nb::arg("ups"), nb::arg("downs"), nb::arg("shared"), nb::arg("owners"));
    m.def("moe", &moe, nb::arg("x").noconvert(), nb::arg("ids").noconvert(), nb::arg("weights").noconvert(), nb::arg("experts"),
          nb::arg("y").noconvert());
    m.def("gated", &gate, nb::arg("gate").noconvert(), nb::arg("up").noconvert(), nb::arg("out").noconvert());
    m.def("swiglu", &swiglu, nb::arg("x").noconvert(), nb::arg("gate"), nb::arg("up"), nb::arg("down"), nb::arg("y").noconvert());
}

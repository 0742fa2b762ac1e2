#include "bind.h"

#include <string>

#include "ops/route/route.h"
#include "pool.h"
#include "workspace.h"

#include <nanobind/stl/optional.h>

namespace {

[[noreturn]] void refuse(const std::string& what) { throw nb::value_error(("route: " + what).c_str()); }

void check(const Router& r) {
    if (r.experts < 1 || r.groups < 1 || r.experts % r.groups || r.kept_groups < 1 || r.kept_groups > r.groups)
        refuse(std::to_string(r.experts) + " experts in " + std::to_string(r.groups) + " groups, of which " + std::to_string(r.kept_groups) + " are kept");
    if (r.top_k < 1 || r.top_k > r.experts / r.groups * r.kept_groups)
        refuse(std::to_string(r.top_k) + " experts are to be chosen of " + std::to_string(r.experts / r.groups * r.kept_groups));
}

void route_all(Array<float, 2> logits, std::optional<Array<float, 1>> bias, int64_t groups, int64_t kept_groups, bool sigmoid, bool two_best,
               bool renormalise, float scale, Out<int32_t, 2> ids, Out<float, 2> weights) {
    int64_t T = logits.shape(0), k = ids.shape(1);
    Router router{static_cast<int64_t>(logits.shape(1)), k, groups, kept_groups, sigmoid, two_best, renormalise, scale};
    check(router);
    if (bias && static_cast<int64_t>(bias->shape(0)) != router.experts) refuse("the bias differs in length from the logits");
    if (ids.shape(0) != logits.shape(0) || weights.shape(0) != ids.shape(0) || weights.shape(1) != ids.shape(1)) refuse("ids or weights differ in shape");
    perform("route", [=] {
        const float* b = bias ? bias->data() : nullptr;
        pool::parallel(T, 8, [&](int64_t begin, int64_t end) {
            static thread_local Workspace workspace;
            float* scratch = workspace.get<float>(2 * router.experts + router.groups);
            for (int64_t t = begin; t < end; ++t) route(router, logits.data() + t * router.experts, b, scratch, ids.data() + t * k, weights.data() + t * k);
        });
    });
}

}  // namespace

void bind_route(nb::module_& m) {
    m.def("route", &route_all, nb::arg("logits").noconvert(), nb::arg("bias").noconvert(), nb::arg("groups"), nb::arg("kept_groups"),
          nb::arg("sigmoid"), nb::arg("two_best"), nb::arg("renormalise"), nb::arg("scale"), nb::arg("ids").noconvert(),
          nb::arg("weights").noconvert());
}

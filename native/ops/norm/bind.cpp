#include "bind.h"

#include "ops/norm/norm.h"
#include "pool.h"

static void rms_norm(Array<float, 2> x, Array<float, 1> weight, float eps, Out<float, 2> y) {
    int64_t rows = x.shape(0), width = x.shape(1);
    if (static_cast<int64_t>(weight.shape(0)) != width || y.shape(0) != x.shape(0) || y.shape(1) != x.shape(1))
        throw nb::value_error("rms_norm: x, weight and y differ in shape");
    nb::gil_scoped_release release;
    pool::parallel(rows, 16, [&](int64_t begin, int64_t end) {
        norm_table().rms_norm(x.data() + begin * width, weight.data(), eps, y.data() + begin * width, end - begin, width);
    });
}

void bind_norm(nb::module_& m) {
    m.def("rms_norm", &rms_norm, nb::arg("x").noconvert(), nb::arg("weight").noconvert(), nb::arg("eps"), nb::arg("y").noconvert());
}

#include "bind.h"

#include <algorithm>

#include "ops/norm/norm.h"
#include "pool.h"

namespace {

// Of the first `normed` numbers of each row; the rest is copied.
void norm_rows(const float* x, const float* weight, float eps, float* y, int64_t rows, int64_t width, int64_t normed) {
    if (normed == width) return norm_table().rms_norm(x, weight, eps, y, rows, width);
    for (int64_t r = 0; r < rows; ++r, x += width, y += width) {
        norm_table().rms_norm(x, weight, eps, y, 1, normed);
        std::copy(x + normed, x + width, y + normed);
    }
}

void rms_norm(Array<float, 2> x, Array<float, 1> weight, float eps, Out<float, 2> y) {
    int64_t rows = x.shape(0), width = x.shape(1), normed = weight.shape(0);
    if (normed < 1 || normed > width || y.shape(0) != x.shape(0) || y.shape(1) != x.shape(1))
        throw nb::value_error("rms_norm: x, weight and y differ in shape");
    perform("rms_norm", [=] {
        pool::parallel(rows, 16, [&](int64_t begin, int64_t end) {
            norm_rows(x.data() + begin * width, weight.data(), eps, y.data() + begin * width, end - begin, width, normed);
        });
    });
}

void add(Array<float, 2> x, Array<float, 2> y, Out<float, 2> out) {
    int64_t rows = x.shape(0), width = x.shape(1);
    if (y.shape(0) != x.shape(0) || y.shape(1) != x.shape(1) || out.shape(0) != x.shape(0) || out.shape(1) != x.shape(1))
        throw nb::value_error("add: x, y and out differ in shape");
    perform("add", [=] {
        pool::parallel(rows, std::max<int64_t>(1, 65536 / std::max<int64_t>(1, width)), [&](int64_t begin, int64_t end) {
            const float *a = x.data(), *b = y.data();
            float* sum = out.data();
            for (int64_t i = begin * width; i < end * width; ++i) sum[i] = a[i] + b[i];
        });
    });
}

}  // namespace

void bind_norm(nb::module_& m) {
    m.def("rms_norm", &rms_norm, nb::arg("x").noconvert(), nb::arg("weight").noconvert(), nb::arg("eps"), nb::arg("y").noconvert());
    m.def("add", &add, nb::arg("x").noconvert(), nb::arg("y").noconvert(), nb::arg("out").noconvert());
}

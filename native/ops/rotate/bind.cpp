#include "bind.h"

#include <algorithm>
#include <string>

#include "ops/rotate/rotate.h"
#include "pool.h"

namespace {

constexpr int64_t grain_numbers = 32768;  // of a piece: some 10 microseconds

[[noreturn]] void refuse(const std::string& what) { throw nb::value_error(("rotate: " + what).c_str()); }

void check_positions(const Array<int32_t, 1>& positions, int64_t tokens, int64_t rows) {
    if (static_cast<int64_t>(positions.shape(0)) != tokens) refuse("as many positions as tokens are needed");
    for (int64_t t = 0; t < tokens; ++t)
        if (positions.data()[t] < 0 || positions.data()[t] >= rows)
            refuse("position " + std::to_string(positions.data()[t]) + " is outside the table's 0 to " + std::to_string(rows - 1));
}

void rotate(Array<float, 3> x, Array<int32_t, 1> positions, Array<float, 2> table, bool interleaved, Out<float, 3> y) {
    int64_t T = x.shape(0), heads = x.shape(1), dim = x.shape(2), r = table.shape(1);
    if (y.shape(0) != x.shape(0) || y.shape(1) != x.shape(1) || y.shape(2) != x.shape(2)) refuse("x and y differ in shape");
    if (r % 2 || r > dim) refuse("a table of " + std::to_string(r) + " columns does not fit rows of " + std::to_string(dim));
    auto turn = interleaved ? rotate_table().neighbours : rotate_table().halves;
    perform("rotate", [=] {
        check_positions(positions, T, static_cast<int64_t>(table.shape(0)));
        pool::parallel(T, std::max<int64_t>(1, grain_numbers / std::max<int64_t>(1, heads * dim)), [&](int64_t begin, int64_t end) {
            for (int64_t t = begin; t < end; ++t)
                turn(x.data() + t * heads * dim, heads, dim, table.data() + positions.data()[t] * r, r, y.data() + t * heads * dim);
        });
    });
}

}  // namespace

void bind_rotate(nb::module_& m) {
    m.def("rotate", &rotate, nb::arg("x").noconvert(), nb::arg("positions").noconvert(), nb::arg("table").noconvert(),
          nb::arg("interleaved"), nb::arg("y").noconvert());
}

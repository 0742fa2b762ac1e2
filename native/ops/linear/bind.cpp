#include "bind.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <string>

#include "isa.h"
#include "matrix.h"
#include "ops/linear/arrange.h"
#include "ops/linear/multiply.h"
#include "pool.h"

namespace {

// chunk: bytes more for each 256 columns of a row, and for what is left of them.
struct Layout {
    int64_t columns, bytes, chunk = 0;
    int64_t row_bytes(int64_t cols) const { return cols / columns * bytes + (cols + chunk_cols - 1) / chunk_cols * chunk; }
};

Layout layout_of(int format) {
    switch (static_cast<Format>(format)) {
        case Format::F32: return {1, 4};
        case Format::F16: case Format::BF16: return {1, 2};
        case Format::F8_E4M3: return {1, 1};
        case Format::Q4_0: case Format::Q4_0_LANES: case Format::Q4_0_PANELS: case Format::IQ4_NL: return {32, 18};
        case Format::Q4_1: case Format::Q4_1_LANES: case Format::Q4_1_PANELS: return {32, 20};
        case Format::Q5_0: return {32, 22};
        case Format::Q5_1: return {32, 24};
        case Format::Q8_0: case Format::Q8_0_PANELS: return {32, 34};
        case Format::MXFP4: return {32, 17};
        case Format::Q2_K: return {256, 84};
        case Format::Q3_K: return {256, 110};
        case Format::Q4_K: case Format::Q4_K_LANES: case Format::Q4_K_PANELS: return {256, 144};
        case Format::Q5_K: return {256, 176};
        case Format::Q6_K: case Format::Q6_K_LANES: case Format::Q6_K_PANELS: return {256, 210};
        case Format::IQ4_XS: return {256, 136};
        case Format::D4: return {32, 17, 2};
        case Format::D8: return {32, 33, 2};
    }
    throw nb::value_error(("Weight: format number " + std::to_string(format) + " is not known").c_str());
}

[[noreturn]] void refuse(const std::string& what) { throw nb::value_error(what.c_str()); }

using Bytes = Array<uint8_t, 1>;
using ScaleArray = Array<float, 2>;

void check_scales(const ScaleArray& scales, int format, int64_t rows, int64_t cols, int64_t first_row) {
    if (static_cast<Format>(format) != Format::F8_E4M3) refuse("Weight: only F8_E4M3 takes scales");
    if (first_row < 0 || first_row > (int64_t{1} << 40)) refuse("Weight: first_row " + std::to_string(first_row) + " is out of range");
    int64_t down = (first_row + rows + 127) / 128, across = (cols + 127) / 128;
    if (static_cast<int64_t>(scales.shape(0)) < down || static_cast<int64_t>(scales.shape(1)) < across)
        refuse("Weight: scales (" + std::to_string(scales.shape(0)) + ", " + std::to_string(scales.shape(1)) + ") do not cover (" +
               std::to_string(down) + ", " + std::to_string(across) + ") blocks of 128x128");
}

void check_order(Format format, int64_t rows) {
    const std::string number = std::to_string(static_cast<int>(format));
    if (is_in_lanes(format) && isa() != Isa::avx2) refuse("Weight: only AVX2 reads format number " + number);
    if (is_in_panels(format) && !has_avx512()) refuse("Weight: only AVX-512 reads format number " + number);
    if (is_in_panels(format) && rows % panel_rows)
        refuse("Weight: " + std::to_string(rows) + " rows are no whole panels of " + std::to_string(panel_rows) + ", as format number " + number + " has them");
}

Moving* moving_of(const nb::object& moving, const Bytes& data, Format format) {
    if (moving.is_none()) return nullptr;
    Moving* found = nb::cast<MovingMatrix&>(moving).moving.get();
    if (!found->holds(data.data(), static_cast<int64_t>(data.size())) || found->order() != format)
        refuse("Weight: these bytes are no rows of what moves into this order");
    return found;
}

void make_weight(Matrix* self, int format, Bytes data, int64_t rows, int64_t cols, std::optional<ScaleArray> scales, int64_t first_row,
                 const nb::object& moving) {
    check_order(static_cast<Format>(format), rows);
    Layout layout = layout_of(format);
    constexpr int64_t most = int64_t{1} << 40;
    if (rows < 0 || rows > most || cols < 1 || cols > most || cols % layout.columns)
        refuse("Weight: " + std::to_string(rows) + " rows of " + std::to_string(cols) + " columns, in blocks of " + std::to_string(layout.columns));
    int64_t row_bytes = layout.row_bytes(cols);
    if (static_cast<__int128>(rows) * row_bytes != static_cast<__int128>(data.size()))
        refuse("Weight: " + std::to_string(rows) + " rows of " + std::to_string(row_bytes) + " bytes are not the " +
               std::to_string(data.size()) + " bytes given");
    if (scales) check_scales(*scales, format, rows, cols, first_row);
    Weight w{static_cast<Format>(format), data.data(), rows, cols, row_bytes};
    if (scales) w.scales = scales->data(), w.scale_stride = static_cast<int64_t>(scales->shape(1)), w.first_row = first_row;
    w.moving = moving_of(moving, data, w.format);
    new (self) Matrix{w, nb::cast(data), scales ? nb::cast(*scales) : nb::none(), moving};
}

Product product_of(const Matrix* matrix, const std::optional<Array<float, 1>>& bias, Out<float, 2>& y, const Array<float, 2>& x) {
    const Weight& w = matrix->weight;
    if (w.cols != static_cast<int64_t>(x.shape(1)))
        refuse("linears: x has " + std::to_string(x.shape(1)) + " columns, the weight " + std::to_string(w.cols));
    if (y.shape(0) != x.shape(0) || static_cast<int64_t>(y.shape(1)) != w.rows) refuse("linears: an output differs in shape");
    if (bias && static_cast<int64_t>(bias->shape(0)) != w.rows) refuse("linears: a bias differs in length from its weight's rows");
    return {&w, bias ? bias->data() : nullptr, y.data()};
}

void linears(Array<float, 2> x, std::vector<const Matrix*> weights, std::vector<std::optional<Array<float, 1>>> biases,
             std::vector<Out<float, 2>> ys) {
    if (weights.size() != ys.size() || weights.size() != biases.size()) refuse("linears: as many weights as biases and outputs are needed");
    std::vector<Product> products;
    for (size_t i = 0; i < weights.size(); ++i) {
        if (!weights[i]) refuse("linears: a weight is None");
        products.push_back(product_of(weights[i], biases[i], ys[i], x));
    }
    perform("linears", [x, biases, ys, products] { multiply(x.data(), static_cast<int64_t>(x.shape(0)), static_cast<int64_t>(x.shape(1)), products); });
}

void decode(const Matrix& matrix, Out<float, 2> out) {
    const Weight& w = matrix.weight;
    if (static_cast<int64_t>(out.shape(0)) != w.rows || static_cast<int64_t>(out.shape(1)) != w.cols) refuse("decode: out differs in shape");
    nb::gil_scoped_release release;
    pool::parallel(w.rows, std::max<int64_t>(1, 65536 / w.cols), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) decode_row(w, r, out.data() + r * w.cols);
    });
}

void check_ids(const Array<int32_t, 1>& ids, int64_t rows) {
    for (size_t i = 0; i < ids.size(); ++i)
        if (ids.data()[i] < 0 || ids.data()[i] >= rows)
            refuse("embed: id " + std::to_string(ids.data()[i]) + " is outside 0 to " + std::to_string(rows - 1));
}

void embed(const Matrix& table, Array<int32_t, 1> ids, Out<float, 2> out) {
    const Weight w = table.weight;
    int64_t count = static_cast<int64_t>(ids.shape(0));
    if (static_cast<int64_t>(out.shape(0)) != count || static_cast<int64_t>(out.shape(1)) != w.cols) refuse("embed: out differs in shape");
    perform("embed", [=] {
        check_ids(ids, w.rows);
        pool::parallel(count, std::max<int64_t>(1, 65536 / w.cols), [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) decode_row(w, ids.data()[i], out.data() + i * w.cols);
        });
    });
}

void make_moving(MovingMatrix* self, const Matrix& from, int order, Out<uint8_t, 1> to, bool mapped) {
    const Weight& w = from.weight;
    const Format wanted = static_cast<Format>(order);
    if (wanted == w.format || (wanted != in_lanes(w) && wanted != in_panels(w)))
        refuse("Moving: " + std::to_string(w.rows) + " rows of format number " + std::to_string(static_cast<int>(w.format)) + " have no order " + std::to_string(order));
    if (static_cast<int64_t>(to.shape(0)) != w.rows * w.row_bytes) refuse("Moving: `to` differs in size");
    new (self) MovingMatrix{std::make_unique<Moving>(w, wanted, to.data(), mapped), from.data, nb::cast(to)};
}

}  // namespace

void bind_linear(nb::module_& m) {
    nb::class_<MovingMatrix>(m, "Moving")
        .def("__init__", &make_moving, nb::arg("weight"), nb::arg("order"), nb::arg("to").noconvert(), nb::arg("mapped"))
        .def("settle", [](MovingMatrix& self) { self.moving->bring_all(); }, nb::call_guard<nb::gil_scoped_release>());
    nb::class_<Matrix>(m, "Weight")
        .def("__init__", &make_weight, nb::arg("format"), nb::arg("data").noconvert(), nb::arg("rows"), nb::arg("cols"),
             nb::arg("scales").noconvert() = nb::none(), nb::arg("first_row") = 0, nb::arg("moving") = nb::none())
        .def_prop_ro("shape", [](const Matrix& self) { return nb::make_tuple(self.weight.rows, self.weight.cols); })
        .def_prop_ro("format", [](const Matrix& self) { return static_cast<int>(self.weight.format); })
        .def_prop_ro("nbytes", [](const Matrix& self) { return self.weight.rows * self.weight.row_bytes; });
    m.def("linears", &linears, nb::arg("x").noconvert(), nb::arg("weights"), nb::arg("biases"), nb::arg("ys"));
    m.def("decode", &decode, nb::arg("weight"), nb::arg("out").noconvert());
    m.def("embed", &embed, nb::arg("table"), nb::arg("ids").noconvert(), nb::arg("out").noconvert());
}

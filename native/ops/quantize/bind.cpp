#include "bind.h"

#include <nanobind/stl/optional.h>

#include <atomic>
#include <string>

#include "ops/quantize/quantize.h"
#include "pool.h"

namespace {

[[noreturn]] void refuse(const std::string& what) { throw nb::value_error(("quantize: " + what).c_str()); }

// The first row that the format can't hold, or -1.
int64_t quantize(int number, Array<float, 2> x, std::optional<Array<float, 1>> importance, Out<uint8_t, 2> out) {
    Format format = static_cast<Format>(number);
    if (format != Format::D4 && format != Format::D8) refuse("format number " + std::to_string(number) + " is not one of ours");
    int64_t rows = static_cast<int64_t>(x.shape(0)), cols = static_cast<int64_t>(x.shape(1));
    int64_t row_bytes = (format == Format::D4 ? 17 : 33) * (cols / 32) + (cols + 255) / 256 * 2;
    if (cols < 1 || cols % 32) refuse(std::to_string(cols) + " columns are no multiple of 32");
    if (static_cast<int64_t>(out.shape(0)) != rows || static_cast<int64_t>(out.shape(1)) != row_bytes) refuse("out differs in shape");
    if (importance && static_cast<int64_t>(importance->shape(0)) != cols) refuse("importance differs in length from the rows");
    std::atomic<int64_t> wrong = -1;
    nb::gil_scoped_release release;
    pool::parallel(rows, std::max<int64_t>(1, 16384 / cols), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r)
            if (!quantize_row(format, x.data() + r * cols, importance ? importance->data() : nullptr, cols, out.data() + r * row_bytes))
                wrong = r;
    });
    return wrong;
}

}  // namespace

void bind_quantize(nb::module_& m) {
    m.def("quantize", &quantize, nb::arg("format"), nb::arg("x").noconvert(), nb::arg("importance").noconvert().none(), nb::arg("out").noconvert());
}

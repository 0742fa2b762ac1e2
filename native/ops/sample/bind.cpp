#include "bind.h"

#include <algorithm>
#include <string>

#include "ops/sample/sample.h"
#include "pool.h"

namespace {

constexpr int64_t chunk_blocks = 64;  // some 4 microseconds of sums: worth another thread's while

[[noreturn]] void refuse(const std::string& what) { throw nb::value_error(("sample: " + what).c_str()); }

int64_t blocks_of(int64_t n) { return (n + block_numbers - 1) / block_numbers; }

template <class T>
void check_blocks(const Out<T, 2>& out, int64_t rows, int64_t width) {
    if (static_cast<int64_t>(out.shape(0)) != rows || static_cast<int64_t>(out.shape(1)) != blocks_of(width))
        refuse("the results of " + std::to_string(rows) + " rows of " + std::to_string(width) + " do not fit their array");
}

// body(x, n, block): a run of n numbers within a row, and the place of its first block among all rows' blocks. A block's
// result is the same in any run, so that threads change nothing.
template <class Body>
void each_run(const Array<float, 2>& x, int64_t grain, const Body& body) {
    int64_t width = x.shape(1), blocks = blocks_of(width), runs = (blocks + chunk_blocks - 1) / chunk_blocks;
    pool::parallel(x.shape(0) * runs, grain, [&](int64_t begin, int64_t end) {
        for (int64_t run = begin; run < end; ++run) {
            int64_t row = run / runs, block = run % runs * chunk_blocks, first = block * block_numbers;
            int64_t n = std::min(width - first, chunk_blocks * block_numbers);
            body(x.data() + row * width + first, n, row * blocks + block);
        }
    });
}

void maxima(Array<float, 2> x, Out<float, 2> most) {
    check_blocks(most, x.shape(0), x.shape(1));
    nb::gil_scoped_release release;
    each_run(x, 16, [&](const float* run, int64_t n, int64_t block) { sample_table().maxima(run, n, most.data() + block); });
}

void sums(Array<float, 2> x, float scale, Out<float, 2> most, Out<float, 2> totals) {
    check_blocks(most, x.shape(0), x.shape(1));
    check_blocks(totals, x.shape(0), x.shape(1));
    nb::gil_scoped_release release;
    each_run(x, 1, [&](const float* run, int64_t n, int64_t block) {
        sample_table().sums(run, n, scale, most.data() + block, totals.data() + block);
    });
}

int64_t ids_at_least(Array<float, 1> x, Array<float, 1> most, float threshold, Out<int32_t, 1> ids) {
    int64_t n = x.shape(0);
    const float* m = most.data();
    if (static_cast<int64_t>(most.shape(0)) != blocks_of(n)) refuse("these are not the maxima of a row of " + std::to_string(n));
    int64_t searched = std::count_if(m, m + most.shape(0), [=](float value) { return !(value < threshold); });
    if (static_cast<int64_t>(ids.shape(0)) < searched * block_numbers) refuse("too little room for the ids of " + std::to_string(searched) + " blocks");
    return at_least(x.data(), n, m, threshold, ids.data());
}

}  // namespace

void bind_sample(nb::module_& m) {
    m.def("block_maxima", &maxima, nb::arg("x").noconvert(), nb::arg("maxima").noconvert());
    m.def("block_sums", &sums, nb::arg("x").noconvert(), nb::arg("scale"), nb::arg("maxima").noconvert(), nb::arg("sums").noconvert());
    m.def("at_least", &ids_at_least, nb::arg("x").noconvert(), nb::arg("maxima").noconvert(), nb::arg("threshold"), nb::arg("ids").noconvert());
}

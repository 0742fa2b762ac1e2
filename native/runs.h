#pragma once

#include <cstdint>

// Kernels that take a number of rows or tokens which the compiler knows.
namespace {

// Calls body<N>(first) with N <= Most for n of them from `first` on.
template <int Most, class Body>
inline void with_run(int64_t first, int64_t n, const Body& body) {
    if constexpr (Most > 1)
        if (n < Most) return with_run<Most - 1>(first, n, body);
    body.template operator()<Most>(first);
}

// The same for all of `count` in as few runs of at most `Most` as there can be, of equal length or one apart: a short run at
// the end would cost nearly as much as a long one.
template <int Most, class Body>
inline void by_runs(int64_t count, const Body& body) {
    int64_t runs = (count + Most - 1) / Most;
    for (int64_t i = 0, first = 0, end; i < runs; ++i, first = end) {
        end = (i + 1) * count / runs;
        with_run<Most>(first, end - first, body);
    }
}

}  // namespace

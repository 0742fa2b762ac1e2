#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "recording.h"

namespace nb = nanobind;

template <class T, int Dims>
using Array = nb::ndarray<const T, nb::ndim<Dims>, nb::c_contig, nb::device::cpu>;
template <class T, int Dims>
using Out = nb::ndarray<T, nb::ndim<Dims>, nb::c_contig, nb::device::cpu>;

// How the binding of an op that models call ends: `call` is done without Python's lock, and once more whenever a recording
// that is open now is run. It holds copies of its arrays, and checks what their numbers can do wrong.
template <class Call>
void perform(const char* op, const Call& call) {
    if (Recording* recording = Recording::open_here()) recording->add(op, call);
    nb::gil_scoped_release release;
    call();
}

// Each op's bind.cpp defines one of these and bind.cpp calls them all.
void bind_attention(nb::module_& m);
void bind_linear(nb::module_& m);
void bind_mla(nb::module_& m);
void bind_moe(nb::module_& m);
void bind_norm(nb::module_& m);
void bind_probe(nb::module_& m);
void bind_quantize(nb::module_& m);
void bind_rotate(nb::module_& m);
void bind_route(nb::module_& m);
void bind_sample(nb::module_& m);
void bind_strings(nb::module_& m);

// A vocabulary's size is felt where its strings become Python's: a GGUF file has each behind its length.
#include <cstring>

#include "bind.h"

namespace {

// Up to `count` strings of `raw` from `at` on, none past `end`: those before the first that is cut short or not UTF-8, and
// where they end.
nb::tuple strings(Array<uint8_t, 1> raw, uint64_t at, uint64_t count, uint64_t end) {
    if (end > raw.size() || at > end) throw nb::value_error("strings: end is past the file, or before the beginning");
    nb::list found;
    for (uint64_t length; count-- && end - at >= sizeof length;) {
        std::memcpy(&length, raw.data() + at, sizeof length);
        if (length > end - at - sizeof length) break;
        const char* text = reinterpret_cast<const char*>(raw.data()) + at + sizeof length;
        PyObject* string = PyUnicode_DecodeUTF8(text, static_cast<Py_ssize_t>(length), nullptr);
        if (!string) {
            PyErr_Clear();
            break;
        }
        found.append(nb::steal(string));
        at += sizeof length + length;
    }
    return nb::make_tuple(found, at);
}

}  // namespace

void bind_strings(nb::module_& m) { m.def("strings", &strings); }

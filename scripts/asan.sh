#!/usr/bin/env bash
# Builds the kernels with AddressSanitizer and UndefinedBehaviorSanitizer and runs pytest with them, on what is named.
#
# A second environment in build/asan borrows everything from .venv but divebell itself.
set -euo pipefail
cd "$(dirname "$0")/.."
main=$PWD/.venv
asan=$PWD/build/asan

if [ ! -x "$asan/bin/python" ]; then
  "$main/bin/python" -m venv --without-pip "$asan"
fi
packages=$("$asan/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$main/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$packages/borrowed.pth"

export PATH="$main/bin:$PATH" CMAKE_BUILD_PARALLEL_LEVEL=$(nproc)
"$main/bin/python" -m pip install --quiet --no-deps --no-build-isolation --upgrade --target "$packages" . \
  -C build-dir="$asan/cmake" -C cmake.build-type=RelWithDebInfo -C cmake.define.DIVEBELL_ASAN=ON

# Leaks are not counted: Python and its libraries keep much until the process ends.
LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)" \
ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 PYTHONMALLOC=malloc \
  "$asan/bin/python" -m pytest -p no:cacheprovider -m "not slow" "$@"

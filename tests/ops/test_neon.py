"""NEON kernels on other processors: cross-compiled and emulated, where Debian's packages for both are installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

COMPILER, EMULATOR = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64-static")
NATIVE = Path(__file__).parents[2] / "native"
FLAGS = ["-std=c++20", "-O2", "-ffp-contract=off", "-fno-math-errno", "-march=armv8.2-a+dotprod+fp16", "-static"]


@pytest.mark.slow
@pytest.mark.skipif(not (COMPILER and EMULATOR), reason="needs g++-aarch64-linux-gnu and qemu-user-static")
def test_neon_agrees_with_scalar(tmp_path):
    kernels = [NATIVE / f"ops/{op}/{op}.{isa}.cpp" for op in ("linear", "sample") for isa in ("scalar", "neon")]
    sources = [NATIVE / "isa.cpp", *kernels]
    program = tmp_path / "check"
    check = Path(__file__).with_name("neon_check.cpp")
    subprocess.run([COMPILER, *FLAGS, f"-I{NATIVE}", check, *sources, "-o", program], check=True)
    done = subprocess.run([EMULATOR, program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout

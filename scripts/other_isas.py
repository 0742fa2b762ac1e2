"""Prints the instruction sets that this machine has kernels for, except the one that is chosen by default."""

import os
import subprocess
import sys

ISAS = ("scalar", "neon", "avx2", "avx512", "amx")
PROGRAM = "from divebell import _native; print(_native.isa)"


def chosen(isa: str | None) -> str:
    """The instruction set that a fresh process ends up with when asked for `isa`; empty when it can't be had."""
    environment = {name: value for name, value in os.environ.items() if name != "DIVEBELL_ISA"}
    if isa:
        environment["DIVEBELL_ISA"] = isa
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    return done.stdout.strip()


default = chosen(None)
print(*(isa for isa in ISAS if isa != default and chosen(isa) == isa))

"""How long a person waits for the first text of a fresh process, and for its end: `divebell run`, several times."""

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

PROGRAM = Path(sys.executable).with_name("divebell")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="smollm2-135m", help="as for divebell run")
    parser.add_argument("--prompt", default="The capital of France is")
    parser.add_argument("--tokens", default="1", help="of the answer")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    command = [PROGRAM, "run", given.model, given.prompt, "--max-tokens", given.tokens]
    waited = [_run(command) for _ in range(given.rounds + 1)][1:]  # the first brings files into the page cache
    for name, seconds in zip(("first text", "end"), zip(*waited, strict=True), strict=True):
        print(f"{name}: {median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})")


def _run(command: list[object]) -> tuple[float, float]:
    """Seconds until the first byte, and until the process has ended."""
    begin = perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.read(1)
        first = perf_counter() - begin
        process.stdout.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    return first, perf_counter() - begin


if __name__ == "__main__":
    main()

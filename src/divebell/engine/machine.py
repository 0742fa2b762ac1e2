"""This machine: what it is, and how fast it reads memory and multiplies at most."""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median

from divebell.config import available_memory

_LEAST_BUFFER, _USUAL_BUFFER, _MOST_BUFFER = 64 << 20, 256 << 20, 1 << 30
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


@dataclass(frozen=True, slots=True)
class Machine:
    """cores: that this process may use; one may have several processors (SMT). memory_*: bytes.

    read_gb_per_s: 10^9 bytes per second, read by all threads; *_gmac_per_s: 10^9 multiply-adds.
    read_gb_per_s_by_threads: by (1, 2, 4, ... all) threads, as pairs.
    """

    processor: str
    cores: int
    threads: int
    isa: str
    memory_total: int
    memory_available: int
    read_gb_per_s: float
    read_gb_per_s_by_threads: tuple[tuple[int, float], ...]
    int8_gmac_per_s: float
    bf16_gmac_per_s: float
    f32_gmac_per_s: float


def measure(seconds: float = 1.0) -> Machine:
    """Takes about `seconds` for reading with each number of threads, and a quarter of that for each rate."""
    from divebell import _native

    threads = _native.threads()
    by_threads = tuple((count, with_threads(count, lambda: read_gb_per_s(seconds))) for count in _counts(threads))
    rates = {f"{kind}_gmac_per_s": gmac_per_s(kind, seconds / 4) for kind in ("int8", "bf16", "f32")}
    return Machine(
        processor=processor(),
        cores=_native.cores(),
        threads=threads,
        isa=_native.isa,
        memory_total=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        memory_available=available_memory(),
        read_gb_per_s=by_threads[-1][1],
        read_gb_per_s_by_threads=by_threads,
        **rates,
    )


def read_gb_per_s(seconds: float = 1.0, most: int = _MOST_BUFFER) -> float:
    """The median pass over a buffer far larger than the caches, by all threads of the pool.

    most: bytes of the buffer. Where the last cache holds as many, its speed is told.
    """
    from divebell import _native

    return median(_native.probe_read_bandwidth(min(_buffer_bytes(), most), seconds)) / 1e9


def gmac_per_s(kind: str, seconds: float = 0.25) -> float:
    """Multiply-adds of "int8", "bf16" or "f32" numbers in registers, by all threads: the best of many short runs.

    The best, because nothing but a disturbance makes such a run slower.
    """
    from divebell import _native

    return max(_native.probe_multiply_adds(kind, seconds)) / 1e9


def with_threads(count: int, figure: Callable[[], float]) -> float:
    """A figure taken with a pool of `count` threads; the pool is as before afterwards."""
    from divebell import _native

    before = _native.threads()
    _native.set_threads(count)
    try:
        return figure()
    finally:
        _native.set_threads(before)


@cache
def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _counts(threads: int) -> list[int]:
    """1, 2, 4, ... and `threads`, each once."""
    counts = [1 << power for power in range(threads.bit_length())]
    return sorted({*counts, threads})


def _buffer_bytes() -> int:
    """Eight times the last cache, within bounds, and no more than an eighth of what memory is free."""
    wanted = min(max(8 * _last_cache(), _USUAL_BUFFER), _MOST_BUFFER)
    return max(min(wanted, available_memory() // 8), _LEAST_BUFFER) // 512 * 512


def _last_cache() -> int:
    sizes = [path.read_text().strip() for path in _CACHES.glob("index*/size")] if _CACHES.is_dir() else []
    return max((int(size[:-1]) << {"K": 10, "M": 20}[size[-1]] for size in sizes if size[-1:] in "KM"), default=0)

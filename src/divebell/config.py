"""Sizes and counts as people write them, and the memory that this process may take."""

import re
from pathlib import Path

from divebell.errors import BadInput

_MOST_BYTES = 1 << 63
_UNITS = {"": 1, "b": 1}
_UNITS |= {f"{prefix}{suffix}": 1000**n for n, prefix in enumerate("kmgt", 1) for suffix in ("", "b")}
_UNITS |= {f"{prefix}i{suffix}": 1024**n for n, prefix in enumerate("kmgt", 1) for suffix in ("", "b")}


def parse_bytes(size: "int | str", name: str = "ram") -> int:
    """Bytes of 800MB, 16GiB, 1.5 GB or a plain number; MB counts in thousands, MiB in 1024s. BadInput otherwise."""
    if isinstance(size, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", size.lower())
        if match and match[2] in _UNITS:
            amount = float(match[1]) * _UNITS[match[2]]
            size = int(amount) if amount < _MOST_BYTES else size
    if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
        raise BadInput(f"{name} is {size!r:.80}; give a number of bytes, or a size such as 800MB or 16GiB")
    return size


def format_bytes(count: int) -> str:
    """12.3 GiB, 98.4 MiB, 512 B."""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if count >= 1024**power:
            return f"{count / 1024**power:.1f} {unit}"
    return f"{count} B"


def plural(count: int, noun: str, style: str = "") -> str:
    """1 token, 12 tokens. style: how the number is formatted."""
    return f"{count:{style}} {noun}{'' if count == 1 else 's'}"


def available_memory() -> int:
    """Bytes that this process may still take: the machine's available memory, and no more than its cgroup leaves."""
    return min(_machine_available(), _cgroup_available(Path("/sys/fs/cgroup")))


def _machine_available(meminfo: Path = Path("/proc/meminfo")) -> int:
    try:
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return _physical_memory()


def _physical_memory() -> int:
    import os

    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cgroup_available(folder: Path) -> float:
    try:
        limit, used = (folder / "memory.max").read_text().strip(), (folder / "memory.current").read_text()
    except OSError:
        return float("inf")
    return float("inf") if limit == "max" else max(int(limit) - int(used), 0)

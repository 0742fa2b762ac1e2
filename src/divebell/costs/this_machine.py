"""This machine, measured once and remembered in `settings.state()`; measured again after a month."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

from divebell.config import available_memory
from divebell.costs.energy import watts
from divebell.costs.hardware import Hardware
from divebell.costs.settings import Settings, state

DAYS, _DISK_BYTES = 30, 256 << 20
_NODES = Path("/sys/devices/system/node")
_ON_NODE = (
    "import os; os.sched_setaffinity(0, {cpus}); from divebell.engine import machine; print(machine.read_gb_per_s())"
)


def this_machine() -> dict[str, Any]:
    """Figures of `engine.machine.Machine`, with "nodes" (GB/s of each NUMA node), "disk_gb_per_s" and "date"."""
    kept = read(_place("machine"))
    if kept and _holds(kept):
        return kept
    from divebell.engine.machine import measure

    figures = asdict(measure(0.8)) | {"nodes": _nodes(), "disk_gb_per_s": _disk(state()), "date": str(date.today())}
    figures["read_gb_per_s_by_threads"] = [list(pair) for pair in figures["read_gb_per_s_by_threads"]]
    keep(_place("machine"), figures)
    return figures


def this_hardware(own: Settings) -> Hardware:
    """As a row of the catalogue would tell it; what it costs is the person's own."""
    found = this_machine()
    return Hardware(
        name=f"this: {found['processor']}, {found['threads']} threads, {found['isa']}",
        kind="cpu",
        chips=1,
        memory=available_memory(),
        read=found["read_gb_per_s"] * 1e9,
        int8=found["int8_gmac_per_s"] * 1e9,
        bf16=found["bf16_gmac_per_s"] * 1e9,
        f32=found["f32_gmac_per_s"] * 1e9,
        watts=watts(own)[0],
        dollars=own.dollars or None,
        dollars_per_hour=None,
        source=_source(found),
        date=found["date"],
        export="",
        export_source="",
        export_date="",
    )


def _source(found: dict[str, Any]) -> str:
    rates = {**found["nodes"], "disk": found["disk_gb_per_s"]}
    told = [f"{name} {rate:.1f} GB/s" for name, rate in rates.items() if rate is not None]
    return f"measured here: {', '.join(told)}"


def read(path: Path) -> dict[str, Any]:
    """A JSON object that was kept, or nothing where there is none or it is damaged."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def keep(path: Path, figures: dict[str, Any]) -> None:
    """Whole or not at all; what can't be kept is measured again the next time."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.write_text(json.dumps(figures), encoding="utf-8")
        draft.replace(path)


def _place(name: str) -> Path:
    return state() / f"{name}.json"


def speeds_place() -> Path:
    """Where rehearsed and benchmarked speeds are kept."""
    return _place("speeds")


def _holds(kept: dict[str, Any]) -> bool:
    from divebell import _native
    from divebell.engine.machine import processor

    try:
        fresh = (date.today() - date.fromisoformat(kept["date"])).days < DAYS
        return fresh and (kept["processor"], kept["threads"], kept["isa"]) == (
            processor(),
            _native.threads(),
            _native.isa,
        )
    except (KeyError, ValueError, TypeError):
        return False


def _nodes() -> dict[str, float]:
    """Read bandwidth of each NUMA node by its own processors, in a process of its own each."""
    found = {}
    for node in sorted(_NODES.glob("node[0-9]*")):
        cpus = _processors((node / "cpulist").read_text()) & os.sched_getaffinity(0)
        if cpus:
            command = [sys.executable, "-c", _ON_NODE.format(cpus=sorted(cpus))]
            answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            if answer.returncode == 0:
                found[node.name] = float(answer.stdout)
    return found


def _processors(ranges: str) -> set[int]:
    """0-3,8 -> 0, 1, 2, 3, 8."""
    bounds = [part.split("-") for part in ranges.strip().split(",") if part]
    return {cpu for bound in bounds for cpu in range(int(bound[0]), int(bound[-1]) + 1)}


def _disk(folder: Path) -> float | None:
    """GB/s of reading a file that was just written and put out of memory; None where nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(os.urandom(1 << 20) * (_DISK_BYTES >> 20))
            file.flush()
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.seek(0)
            begin = perf_counter()
            while file.read(1 << 22):
                pass
            return _DISK_BYTES / (perf_counter() - begin) / 1e9
    except OSError:
        return None

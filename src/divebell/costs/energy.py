"""Joules that this machine has taken: by a meter where there is one, else estimated, and labelled as such.

Sources: Linux's powercap (RAPL: energy_uj, which wraps at max_energy_range_uj) and hwmon (energy*_input in microjoules,
power*_input in microwatts); the estimate's watts are those of an EPYC 9654, 360 W for 96 cores (hardware.csv), and 3 W
for 8 GB of memory, which codecarbon assumes as well.
"""

import logging
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import filterfalse
from math import inf
from pathlib import Path
from threading import Lock, Thread

from divebell.costs.settings import Settings, place
from divebell.engine.books import Meter
from divebell.errors import BadFile

LOG = logging.getLogger(__name__)
POWERCAP, HWMON = Path("/sys/class/powercap"), Path("/sys/class/hwmon")
CORE_WATTS, MEMORY_WATTS_PER_GB, IDLE_SHARE = 360 / 96, 3 / 8, 0.3
_EVERY = 1.0  # seconds between two readings of a power
_WRAP = 60.0  # and of a counter, which begins anew after 65 kJ on some processors, some minutes of full load


@dataclass(frozen=True, slots=True)
class Source:
    """read: joules since some moment. uncertainty: of a reading, as a share of it. idle_watts: None where not known."""

    method: str
    uncertainty: float
    read: Callable[[], float]
    idle_watts: float | None = None


def source(settings: Settings, powercap: Path = POWERCAP, hwmon: Path = HWMON) -> Source:
    """The best that there is: the person's own meter, RAPL, hwmon, an estimate."""
    idle = settings.idle_watts
    if command := settings.command:
        return Source(f"meter: {command}", 0.05, integral(_metered(command)), idle)
    if packages := _readable(filter(_is_package, powercap.glob("intel-rapl:*")), "energy_uj"):
        return Source("RAPL, processor packages alone", 0.1, _rapl(packages), idle)
    if files := _readable(filterfalse(_is_core, hwmon.glob("hwmon*/energy*_input"))):
        return Source("hwmon", 0.1, lambda: sum(_number(file) for file in files) / 1e6, idle)
    if files := _readable(hwmon.glob("hwmon*/power*_input")):
        return Source("hwmon", 0.1, integral(lambda: sum(_number(file) for file in files) / 1e6), idle)
    return estimate(settings)


def watts(settings: Settings) -> tuple[float, float]:
    """This machine's, busy and idle: the person's own, or assumed."""
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    assumed = CORE_WATTS * (os.cpu_count() or 1) + MEMORY_WATTS_PER_GB * gigabytes
    busy = settings.watts if settings.watts is not None else assumed
    return busy, settings.idle_watts if settings.idle_watts is not None else IDLE_SHARE * busy


def estimate(settings: Settings) -> Source:
    """idle watts x time + (busy - idle) watts x this process's processor time / cores."""
    busy, idle = watts(settings)
    cores = os.cpu_count() or 1
    each = max(busy - idle, 0.0) / cores
    given = "your watts" if settings.watts is not None else "assumed watts"
    method = f"estimate: {busy:.0f} W busy, {idle:.0f} W idle ({given}) x processor time"
    return Source(method, 0.5, lambda: idle * time.monotonic() + each * time.process_time(), idle)


@cache
def meter(settings: Settings) -> tuple[Meter, Source]:
    """The process's one meter."""
    found = source(settings)
    return Meter(found.read), found


def integral(watts: Callable[[], float]) -> Callable[[], float]:
    """Joules of a power that is read once a second in a thread of its own: a slow meter holds nobody up."""
    state = [0.0, watts(), time.monotonic()]

    def joules() -> float:
        return state[0] + state[1] * (time.monotonic() - state[2])

    def watch() -> None:
        now = watts()
        state[0], state[1], state[2] = joules(), now, time.monotonic()

    _repeat(watch, _EVERY)
    return joules


def _repeat(act: Callable[[], object], seconds: float) -> None:
    def forever() -> None:
        while True:
            time.sleep(seconds)
            act()

    Thread(target=forever, name="divebell meter", daemon=True).start()


def _metered(command: str) -> Callable[[], float]:
    """Watts as the command prints them. A meter that is gone later must not stop an answer: the last reading holds, and
    it is said. Raises BadFile for one that never gave any."""
    last = _watts(command)
    if last is None:
        raise BadFile(place(), "meter.command", f"is {command!r}, which prints no number of watts")
    state = [last, False]

    def watts() -> float:
        now = _watts(command)
        if now is None and not state[1]:
            LOG.warning("the meter %r prints no watts any more; its last reading, %g W, is taken", command, state[0])
        state[0], state[1] = state[0] if now is None else now, now is None
        return state[0]

    return watts


def _watts(command: str) -> float | None:
    """The sum of what the command prints; None where it fails or prints something else."""
    try:
        answer = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=10, check=True)
        numbers = [float(word) for word in answer.stdout.split()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return sum(numbers) if numbers and all(0 <= number < inf for number in numbers) else None


def _is_package(zone: Path) -> bool:
    """A package's zones (its cores, its memory) are listed beside it, and on some machines the whole board (psys), of
    which it is a part."""
    return zone.name.count(":") == 1 and _word(zone / "name").startswith("package")


def _is_core(counter: Path) -> bool:
    """The kernel's amd_energy lists cores (Ecore000) beside the sockets (Esocket0) that they are in."""
    return _word(counter.with_name(counter.name.replace("_input", "_label"))).startswith("Ecore")


def _rapl(packages: list[Path]) -> Callable[[], float]:
    ranges = [_number(package.with_name("max_energy_range_uj")) for package in packages]
    last, total, lock = [_number(package) for package in packages], [0.0], Lock()

    def read() -> float:
        with lock:
            for index, package in enumerate(packages):
                now = _number(package)
                total[0] += (now - last[index]) % (ranges[index] or inf)
                last[index] = now
            return total[0] / 1e6

    _repeat(read, _WRAP)
    return read


def _readable(paths: object, name: str = "") -> list[Path]:
    found = [path / name if name else path for path in sorted(paths)]
    return [path for path in found if os.access(path, os.R_OK)]


def _word(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> float:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return 0.0

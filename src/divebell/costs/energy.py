"""Joules that this machine has taken: by a meter where there is one, else estimated, and labelled as such.

Sources: Linux's powercap (RAPL: energy_uj, which wraps at max_energy_range_uj) and hwmon (energy*_input in microjoules,
power1_input and power1_average in microwatts; its drivers' pages say what they measure); the estimate's watts are those
of an EPYC 9654, 360 W for 96 cores (hardware.csv), and 3 W for 8 GB of memory, which codecarbon assumes as well.
"""

import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
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
_CHIPS = {
    "power_meter": "the machine",
    "corsairpsu": "the machine",
    "amd_energy": "processor sockets alone",
    "fam15h_power": "processors alone",
}
_EVERY = 1.0  # seconds between two readings of a power
_WRAP = 60.0  # and of a counter, which begins anew after 65 kJ on some processors, some minutes of full load


@dataclass(frozen=True, slots=True)
class Source:
    """read: joules since some moment. uncertainty: of a reading, as a share of it. idle_watts: None where not known.

    alone: whether what is beyond idle power is this process's alone, instead of the machine's.
    """

    method: str
    uncertainty: float
    read: Callable[[], float]
    idle_watts: float | None = None
    alone: bool = False


def source(settings: Settings, powercap: Path = POWERCAP, hwmon: Path = HWMON) -> Source:
    """The best that there is: the person's own meter, RAPL, hwmon, an estimate."""
    idle = settings.idle_watts
    if command := settings.command:
        return Source(f"meter: {command}", 0.05, integral(_metered(command)), idle)
    if packages := _readable(filter(_is_package, powercap.glob("intel-rapl:*")), "energy_uj"):
        return Source("RAPL, processor packages alone", 0.1, _rapl(packages), idle)
    return _hwmon(hwmon, idle) or estimate(settings)


def _hwmon(folder: Path, idle: float | None) -> Source | None:
    """Of the best kind of chip alone: a graphics card, a battery or a supply's rail is a part of what another measures,
    or the same power once more."""
    for name, part in _CHIPS.items():
        chips = [chip for chip in folder.glob("hwmon*") if _word(chip / "name") == name]
        if read := _joules(chips):
            return Source(f"hwmon: {name}, {part}", 0.1, read, idle)
    return None


def _joules(chips: list[Path]) -> Callable[[], float] | None:
    """Of all of them, by their counters, or else by their powers; None where they have neither."""
    files = [file for chip in chips for file in chip.glob("energy*_input")]
    if counters := _readable(filterfalse(_is_core, files)):
        return _counted(counters, [0.0] * len(counters))
    sensors = [_sensor(file, first) for chip in chips for file, first in _power(chip)]
    return integral(lambda: sum(sensor() for sensor in sensors) / 1e6) if sensors else None


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
    return Source(method, 0.5, lambda: idle * time.monotonic() + each * time.process_time(), idle, alone=True)


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
    """Watts as the command prints them. Raises BadFile for one that never gave any."""
    first = _watts(command)
    if first is None:
        raise BadFile(place(), "meter.command", f"is {command!r}, which prints no number of watts")
    return _lasting(lambda: _watts(command), first, f"the meter {command!r} prints no watts any more")


def _lasting(read: Callable[[], float | None], first: float, problem: str) -> Callable[[], float]:
    """A meter that is gone later must not stop an answer: the last reading holds, and it is said."""
    state = [first, False]

    def lasting() -> float:
        now = read()
        if now is None and not state[1]:
            LOG.warning("%s; its last reading, %g, is taken", problem, state[0])
        state[0], state[1] = state[0] if now is None else now, now is None
        return state[0]

    return lasting


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


def _rapl(packages: Mapping[Path, float]) -> Callable[[], float]:
    read = _counted(packages, [_number(package.with_name("max_energy_range_uj")) or 0.0 for package in packages])
    _repeat(read, _WRAP)
    return read


def _counted(counters: Mapping[Path, float], ranges: Sequence[float]) -> Callable[[], float]:
    """Joules of counters of microjoules with their first readings. ranges: where they begin anew; 0: never."""
    reads = [_sensor(file, first) for file, first in counters.items()]
    last, total, lock = list(counters.values()), [0.0], Lock()

    def read() -> float:
        with lock:
            for index, counter in enumerate(reads):
                now = counter()
                rise = now - last[index]
                total[0] += rise % ranges[index] if ranges[index] else max(rise, 0.0)
                last[index] = now
            return total[0] / 1e6

    return read


def _power(chip: Path) -> list[tuple[Path, float]]:
    """Its first sensor: further ones are parts of it."""
    return list(_readable([chip / "power1_input", chip / "power1_average"]).items())[-1:]


def _sensor(file: Path, first: float) -> Callable[[], float]:
    return _lasting(lambda: _number(file), first, f"{file} can't be read any more")


def _readable(paths: Iterable[Path], name: str = "") -> dict[Path, float]:
    """With what they say now."""
    found = [path / name if name else path for path in sorted(paths)]
    return {path: now for path in found if (now := _number(path)) is not None}


def _word(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None

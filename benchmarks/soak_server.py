"""A `divebell serve` in a process of its own, that is killed, stopped, and started again."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import clock_gettime, monotonic
from typing import Any, TypeVar

import httpx

T = TypeVar("T")
KEY = "soak-key-1234"
START_SECONDS, STOP_SECONDS = 120, 300  # by `Server.clock`
CHECK = 1.0  # seconds
READY = re.compile(r"ready at (http://\S+),")
_FIGURE = re.compile(r'divebell_(\w+)\{model="[^"]*"(?:,state="(\w+)")?\} (\S+)')
SPARE = 16 << 20  # bytes by which memory may grow, besides a twentieth: what an allocator keeps
FIRST = 120.0  # seconds in which the cache and the compiled grammars fill up
FEWEST = 8  # later samples of one life that say anything


@dataclass(frozen=True, slots=True)
class Sample:
    """seconds: since the process was started, by `Server.clock`. memory: bytes that are not of mapped files."""

    seconds: float
    memory: int


class Server:
    """arguments: for `divebell serve`. grace: seconds for requests in flight. folder: for what it writes.

    ready: whether it takes requests. epoch: how often it was interrupted. lives: the memory of each process.
    """

    def __init__(self, arguments: Sequence[str], grace: float, folder: Path):
        self._command = [sys.executable, "-m", "divebell", "serve", *arguments, "--port", "0", "--grace", str(grace)]
        self._folder = folder
        self._process: subprocess.Popen | None = None
        self.ready = asyncio.Event()
        self.epoch, self.last_signal = 0, signal.SIGTERM
        self.url = ""
        self.lives: list[list[Sample]] = []
        self._started = 0.0

    async def start(self) -> None:
        """Until it listens; `ready` is for the caller to set."""
        self.lives.append([])
        environment = os.environ | {"DIVEBELL_API_KEYS": f"soak:{KEY}"}
        with self._notes.open("w") as notes, (self._folder / "access.log").open("a") as access:
            self._process = subprocess.Popen(self._command, stdout=access, stderr=notes, env=environment)
        self._started = self.clock()
        self.url = await self.within(START_SECONDS, self._listening())

    async def _listening(self) -> str:
        while not (ready := READY.search(self._notes.read_text())):
            if self._process.poll() is not None:
                raise RuntimeError(f"the server did not start:\n{self._notes.read_text()}")
            await asyncio.sleep(0.05)
        return ready[1]

    async def interrupt(self, number: signal.Signals) -> None:
        """Raises RuntimeError where SIGTERM does not end it well."""
        self.ready.clear()
        self.epoch, self.last_signal = self.epoch + 1, number
        self._process.send_signal(number)
        try:
            code = await self.within(STOP_SECONDS, self._ended())
        except TimeoutError:
            raise RuntimeError(f"{number.name} did not end the server") from None
        if number == signal.SIGTERM and code:
            raise RuntimeError(f"SIGTERM ended the server with code {code}:\n{self._notes.read_text()[-4000:]}")

    async def _ended(self) -> int:
        while (code := self._process.poll()) is None:
            await asyncio.sleep(0.05)
        return code

    def clock(self) -> float:
        """Seconds, without those that the server or we have stood in line for a processor: load alone is no hang."""
        return monotonic() - _in_line(self._process.pid) - _in_line(os.getpid())

    async def within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """What `work` comes to. Raises TimeoutError where it takes longer, by our clock."""
        task, process, begin = asyncio.ensure_future(work), self._process, self.clock()
        try:
            while not (await asyncio.wait({task}, timeout=CHECK))[0]:
                if process is not self._process:
                    process, begin = self._process, self.clock()
                if self.clock() - begin > seconds:
                    raise TimeoutError
            return task.result()
        finally:
            task.cancel()
            await asyncio.wait({task})

    def end(self) -> None:
        """At once, whatever it does."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def died(self) -> str | None:
        """What it said last, where it has ended by itself."""
        code = self._process.poll()
        return None if code is None or not self.ready.is_set() else f"code {code}: {self._notes.read_text()[-4000:]}"

    def complaints(self) -> list[str]:
        """Tracebacks that its processes have written."""
        notes = [(file, file.read_text()) for file in sorted(self._folder.glob("notes-*.txt"))]
        return [f"{file.name}: {text[-4000:]}" for file, text in notes if "Traceback" in text]

    def sample_memory(self) -> None:
        try:
            text = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text()
        except OSError:  # it has just been killed
            return
        if found := re.search(r"^Anonymous:\s+(\d+) kB", text, re.MULTILINE):
            self.lives[-1].append(Sample(self.clock() - self._started, int(found[1]) * 1024))

    def cpu_seconds(self) -> float:
        """User and system time so far, of all threads: to the nanosecond, by the process's own clock, whose number
        clock_getcpuclockid(3) would tell."""
        return clock_gettime((~self._process.pid << 3) | 2)

    async def figures(self, client: httpx.AsyncClient) -> dict[str, float]:
        """Of /metrics, by name without the prefix: waiting, cached_tokens_total, cache_pages_free, ..."""
        text = (await client.get(f"{self.url}/metrics")).text
        return {f"{name}_{state}" if state else name: float(value) for name, state, value in _FIGURE.findall(text)}

    @property
    def _notes(self) -> Path:
        return self._folder / f"notes-{len(self.lives)}.txt"


def _in_line(process: int) -> float:
    """Seconds of the thread that has waited longest to run (Documentation/scheduler/sched-stats.rst of Linux)."""
    waited = [0]
    for file in Path(f"/proc/{process}/task").glob("*/schedstat"):
        with suppress(OSError):  # a thread that has just ended
            waited.append(int(file.read_text().split()[1]))
    return max(waited) / 1e9


def growth(life: Sequence[Sample]) -> str | None:
    """A sentence where memory has grown, after the first minutes, from their first third to their last."""
    later = [sample.memory for sample in life if sample.seconds >= FIRST]
    if len(later) < FEWEST:
        return None
    third = len(later) // 3
    before, after = median(later[:third]), median(later[-third:])
    if after <= before * 1.05 + SPARE:
        return None
    return f"the server's memory grew from {before / 1e6:.0f} to {after / 1e6:.0f} MB"

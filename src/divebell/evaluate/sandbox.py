"""Programs that a model wrote run here: with no network, no file to write, no other process, and within limits."""

import json
import os
import selectors
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic
from typing import BinaryIO

from divebell.errors import BadInput, NoSandbox
from divebell.evaluate import bubblewrap, seccomp

_INSIDE = Path(__file__).with_name("inside.py")
_MARK = "\x06"  # what the sandbox says before it runs the program, which can't take it back
_END = 42  # how it leaves once the program has come to its end, which sys.exit(0) halfway is not
_OUT_OF_CPU = 128 + 24  # SIGXCPU
_PROBE = """
import os, socket, time
try: socket.socket()
except PermissionError: pass
else: raise SystemExit("a network can be reached")
if os.path.exists("/etc/passwd"): raise SystemExit("files of the host are there")
for _ in range(8):
    try: pid = os.fork()
    except BlockingIOError: break
    if not pid: time.sleep(60)
else: raise SystemExit("processes are not limited")
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one program. seconds: by the clock; cpu_seconds: of each process. memory: bytes of address space of all
    processes (a thread counts as one) together; each may have its equal share. output: bytes."""

    seconds: float = 10.0
    cpu_seconds: int = 10
    memory: int = 2 << 30
    processes: int = 8
    output: int = 64 << 10

    def __post_init__(self):
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise BadInput(f"{name} is {getattr(self, name)}; it must be above 0")
        if self.memory // self.processes < 64 << 20:
            raise BadInput(f"memory is {self.memory} for {self.processes} processes; Python needs 64 MiB for each")


@dataclass(frozen=True, slots=True)
class Outcome:
    """passed: the program came to its end without an exception. status: passed, failed, timed out, too much output.
    output: of stdout and stderr together."""

    passed: bool
    status: str
    output: str


def run_code(program: str, limits: Limits = Limits()) -> Outcome:
    """Runs Python, its standard library and nothing else. Raises NoSandbox where it would not be contained."""
    check_sandbox()
    return _run(program, limits)


@cache
def check_sandbox() -> None:
    """Runs a program that tries what it may not. Raises NoSandbox."""
    if shutil.which("bwrap") is None:
        raise NoSandbox("bwrap is not installed")
    outcome = _run(_PROBE, Limits(seconds=60.0, processes=4))  # a machine that is very busy is no reason to refuse
    if not outcome.passed:
        raise NoSandbox(f"a trial of it {outcome.status}: {outcome.output.strip()[-300:]}")


def _run(program: str, limits: Limits) -> Outcome:
    uid = bubblewrap.own_uid()
    told = {"uid": uid, "most": _most(limits, uid), "mark": _MARK, "end": _END}
    inside = ["-I", "-B", "-X", "utf8", "-c", _INSIDE.read_text(), json.dumps(told)]
    deadline = monotonic() + limits.seconds
    with _held(program.encode("utf-8", "surrogatepass")) as text, _held(seccomp.program()) as filter:
        command = bubblewrap.command(text, filter, inside, uid)
        with _started(command, (text, filter)) as process:
            said, stopped = _read(process.stdout, limits.output + len(_MARK), deadline)
            code = None if stopped else _left(process, deadline)
    return _outcome(said.decode("utf-8", "replace"), stopped, code)


def _most(limits: Limits, uid: int | None) -> dict[str, int]:
    """Limits of a process by their names. No file can be made or made longer, in memory neither."""
    reapers = 1 if uid is None else 0  # bwrap's own process in there is the same user's
    return {
        "CPU": limits.cpu_seconds + 1,
        "AS": limits.memory // limits.processes,
        "NPROC": limits.processes + reapers,
        "NOFILE": 64,
        **dict.fromkeys(("FSIZE", "CORE", "MEMLOCK", "MSGQUEUE", "NICE", "RTPRIO"), 0),
    }


@contextmanager
def _held(data: bytes) -> Iterator[int]:
    """A file in memory, open at its start."""
    with os.fdopen(os.memfd_create("sandbox"), "wb", buffering=0) as file:
        file.write(data)
        file.seek(0)
        yield file.fileno()


@contextmanager
def _started(command: list[str], files: tuple[int, ...]) -> Iterator[subprocess.Popen]:
    """Ends with the process and with all that it started, which live in its namespace."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, **pipes, pass_fds=files, env={"PATH": os.environ.get("PATH", "")}) as process:
        try:
            yield process
        finally:
            process.kill()


def _read(pipe: BinaryIO, most: int, deadline: float) -> tuple[bytes, str | None]:
    """What was said, and why reading was stopped."""
    said = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while len(said) <= most:
            if not selector.select(max(deadline - monotonic(), 0)):
                return bytes(said), "timed out"
            piece = os.read(pipe.fileno(), 1 << 16)
            if not piece:
                return bytes(said), None
            said += piece
    return bytes(said[:most]), "too much output"


def _left(process: subprocess.Popen, deadline: float) -> int | None:
    """The exit code; None at the deadline."""
    try:
        return process.wait(max(deadline - monotonic(), 0))
    except subprocess.TimeoutExpired:
        return None


def _outcome(said: str, stopped: str | None, code: int | None) -> Outcome:
    if not said.startswith(_MARK) and code is not None:
        raise NoSandbox(said.strip()[-300:] or f"bwrap left with {code}")
    said = said.removeprefix(_MARK)
    if stopped or code in (None, _OUT_OF_CPU):
        return Outcome(False, stopped or "timed out", said)
    return Outcome(code == _END, "passed" if code == _END else "failed", said)

"""Attempts to escape. The first kind is also made without a sandbox, where it must succeed: it is a real attempt."""

import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
from outside import CRY, Outside, processes_with

from divebell.errors import BadInput, NoSandbox
from divebell.evaluate import sandbox
from divebell.evaluate.sandbox import Limits, run_code

LIBC = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
CALLED = "\nif result == -1: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))\n"

REACHING = {
    "tcp": ("import socket\nsocket.create_connection(('127.0.0.1', tcp))", "PermissionError"),
    "udp": (
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', udp))",
        "PermissionError",
    ),
    "names": ("import socket\nsocket.getaddrinfo('localhost', 80)", "socket.gaierror"),
    "netlink": ("import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "PermissionError"),
    "unix socket": (
        "import socket\nsocket.socket(socket.AF_UNIX).connect(folder + '/socket')",
        "FileNotFoundError",
    ),
    "abstract unix socket": (
        "import socket\nsocket.socket(socket.AF_UNIX).connect(chr(0) + abstract)",
        "ConnectionRefusedError",
    ),
    "a file": ("open(secret).read()", "FileNotFoundError"),
    "the users": ("open('/etc/passwd').read()", "FileNotFoundError"),
    "a folder": ("import os\nos.listdir(folder)", "FileNotFoundError"),
    "installed packages": ("import pluggy", "ModuleNotFoundError"),
    "a way up": ("open('/dev/../..' + secret).read()", "FileNotFoundError"),
    "another's environment": ("open(f'/proc/{us}/environ').read()", "FileNotFoundError"),
    "a process's root": ("import os\nos.listdir('/proc/self/root')", "FileNotFoundError"),
    "a secret of the environment": ("import os\nos.environ['DIVEBELL_SECRET']", "KeyError"),
    "an open file": ("import os\nos.read(open_file, 0)", "OSError: [Errno 9]"),
    "a signal": ("import os\nos.kill(victim, 0)", "ProcessLookupError"),
    "tracing": (LIBC + "result = libc.ptrace(0, 0, 0, 0)" + CALLED, "PermissionError"),
    "another's memory": (
        LIBC
        + "buffer, place = ctypes.create_string_buffer(16), id(os)\n"
        + "local = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 16)\n"
        + "remote = (ctypes.c_void_p * 2)(place, 16)\n"
        + "result = libc.process_vm_readv(os.getpid(), local, 1, remote, 1, 0)"
        + CALLED,
        "PermissionError",
    ),
    "a new file": ("import tempfile\ntempfile.NamedTemporaryFile()", "FileNotFoundError: [Errno 2] No usable"),
    "a sparse file": ("open(folder + '/sparse', 'w').truncate(1 << 30)", "FileNotFoundError"),
    "a symbolic link": ("import os\nos.symlink(secret, folder + '/link')", "FileNotFoundError"),
    "a hard link": ("import os\nos.link(secret, folder + '/hard')", "FileNotFoundError"),
    "a file in memory": ("import os\nos.memfd_create('x')", "PermissionError"),
    "shared memory": (
        LIBC + "result = libc.shmget(0, 4096, 0o1600)" + CALLED + "libc.shmctl(result, 0, None)",
        "PermissionError",
    ),
    "a keyring": (LIBC + "result = libc.syscall(__NR_keyctl, 0, -3, 1)" + CALLED, "PermissionError"),
    "a user namespace": (LIBC + "result = libc.unshare(0x10000000)" + CALLED, "PermissionError"),
}

RIGHTLESS = {
    "Python's own files": (
        "import os\nassert os.statvfs(os.__file__).f_flag & os.ST_RDONLY\nopen(os.__file__, 'a')",
        "Error: [Errno",
    ),
    "root": ("import os\nos.setuid(0)", "Error: [Errno"),
    "a user's groups": ("import os\nos.setgroups([0])", "PermissionError"),
    "a mount": (LIBC + "result = libc.mount(b'none', b'/dev', b'tmpfs', 0, None)" + CALLED, "PermissionError"),
    "a way out of the root": ("import os\nos.chroot('/dev')", "PermissionError"),
    "a file at the root": ("open('/x', 'w')", "OSError: [Errno 30] Read-only"),
    "a link at the root": ("import os\nos.symlink('/etc', '/x')", "OSError: [Errno 30] Read-only"),
    "its own text": ("open('/program.py', 'w')", "OSError: [Errno 30] Read-only"),
    "a device": ("import os, stat\nos.mknod('/dev/x', stat.S_IFBLK | 0o666, os.makedev(254, 0))", "Errno"),
    "physical memory": ("open('/dev/mem', 'rb')", "FileNotFoundError"),
    "the kernel's log": (
        LIBC + "result = libc.klogctl(3, ctypes.create_string_buffer(64), 64)" + CALLED,
        "PermissionE",
    ),
    "the terminal": ("open('/dev/tty')", "FileNotFoundError"),
    "the terminal's input": ("import fcntl, termios\nfcntl.ioctl(0, termios.TIOCSTI, b'x')", "OSError: [Errno 25]"),
    "the host of a virtual machine": ("import socket\nsocket.socket(40, socket.SOCK_STREAM)", "PermissionError"),
    "rights of a new namespace": (
        LIBC + "result = libc.syscall(__NR_clone, 0x10000000 | 17, 0, 0, 0, 0)" + CALLED,
        "PermissionError",
    ),
    "more processes": (
        "import resource\nresource.setrlimit(resource.RLIMIT_NPROC, (9999, 9999))",
        "ValueError: not allowed",
    ),
    "the reaper": ("import os, signal\nos.kill(1, signal.SIGKILL)\nos.kill(1, 0)\nraise KeyError('it lives')", "Error"),
}


@pytest.fixture
def outside(tmp_path, monkeypatch):
    monkeypatch.setenv("DIVEBELL_SECRET", CRY)
    with ExitStack() as stack:
        yield Outside(tmp_path, stack)


def numbered(program: str) -> str:
    """With the numbers of system calls that libc has no function for."""
    import platform

    keyctl, clone = {"x86_64": (250, 56), "aarch64": (219, 220)}[platform.machine()]
    return program.replace("__NR_keyctl", str(keyctl)).replace("__NR_clone", str(clone))


@pytest.mark.parametrize("name", REACHING)
def test_what_is_outside_can_not_be_reached(outside, contained, name):
    program, error = REACHING[name]
    program = outside.told(numbered(program))
    without = subprocess.run([sys.executable, "-c", program], close_fds=False, capture_output=True, text=True)
    assert not without.returncode, without.stderr
    for made in ("sparse", "link", "hard"):
        (outside.folder / made).unlink(missing_ok=True)
    outcome = run_code(program)
    assert outcome.status == "failed"
    assert outcome.output.splitlines()[-1].startswith(error)
    assert outside.victim.poll() is None
    assert {path.name for path in outside.folder.iterdir()} == {"secret", "socket"}


@pytest.mark.parametrize("name", RIGHTLESS)
def test_there_are_no_rights(contained, name):
    program, error = RIGHTLESS[name]
    outcome = run_code(numbered(program))
    assert outcome.status == "failed"
    assert error in outcome.output.splitlines()[-1]


def test_it_sees_itself_alone(contained):
    seen = run_code(
        "import os, socket\nprint(os.getpid(), os.getppid(), socket.gethostname(), sorted(os.listdir('/dev')))"
    )
    assert seen.output == "2 1 sandbox ['null', 'urandom']\n"
    opened = "import os\nfor file in range(64):\n try: os.fstat(file); print(file)\n except OSError: pass"
    assert run_code(opened).output.split() == ["0", "1", "2"]


def test_processes_are_limited_for_root_too(contained):
    program = "import os, time\ncount = 1\nwhile True:\n try: pid = os.fork()\n except BlockingIOError: break\n"
    program += " if not pid: time.sleep(60)\n count += 1\nprint(count)"
    assert run_code(program, Limits(processes=5)).output == "5\n"


def test_a_bomb_of_processes_ends(contained):
    limits = Limits(seconds=1, cpu_seconds=7331)
    program = "import os\nwhile True:\n try: os.fork()\n except OSError: pass"
    assert run_code(program, limits).status == "timed out"
    assert_gone(limits)


def test_a_bomb_of_threads_ends(contained):
    program = "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,)).start()"
    outcome = run_code(program, Limits(seconds=2))
    assert "can't start new thread" in outcome.output


def test_a_daemon_does_not_outlive(contained):
    limits = Limits(cpu_seconds=7332)
    program = "import os, time\nif os.fork() == 0:\n os.setsid()\n"
    program += " if os.fork() == 0:\n  os.closerange(0, 3)\n  time.sleep(600)\n os._exit(0)"
    assert run_code(program, limits).status == "passed"
    assert_gone(limits)


def assert_gone(limits: Limits) -> None:
    """By its limit of processor time, which is its own on this machine."""
    words, until = f'"CPU": {limits.cpu_seconds + 1},', time.monotonic() + 10
    while found := processes_with(words):
        assert time.monotonic() < until, found
        time.sleep(0.02)


def test_memory_of_one_process_is_limited(contained):
    for hog in ("held = bytearray(600 << 20)", "import mmap\nheld = mmap.mmap(-1, 600 << 20)"):
        outcome = run_code(hog, Limits(memory=1 << 30, processes=2))
        assert outcome.status == "failed"
        assert "MemoryError" in outcome.output or "Errno 12" in outcome.output


def test_memory_of_all_processes_together_is_limited(contained):
    program = """
import os
read, write = os.pipe()
for _ in range(20):
    try: pid = os.fork()
    except BlockingIOError: break
    if not pid:
        held = []
        try:
            while True: held.append(bytearray(1 << 20))
        except MemoryError:
            os.write(write, b"x" * len(held))
            __import__("time").sleep(1)
            os._exit(0)
os.close(write)
total = 0
while piece := os.read(read, 9999): total += len(piece)
print(total)
"""
    limits = Limits(memory=512 << 20, processes=4)
    assert 3 * 40 < int(run_code(program, limits).output) < 512


def test_output_is_limited(contained):
    outcome = run_code("while True: print('x' * 999)", Limits(output=5000))
    assert (outcome.status, len(outcome.output)) == ("too much output", 5000)


@pytest.mark.parametrize(
    "program",
    [
        "import signal\nfor s in set(signal.Signals) - {9, 19}: signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
        "import os, time\nos.closerange(0, 3)\ntime.sleep(600)",
        "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    ],
)
def test_time_is_limited(contained, program):
    begin = time.monotonic()
    assert run_code(program, Limits(seconds=1)).status == "timed out"
    assert time.monotonic() - begin < 10


def test_processor_time_is_limited(contained):
    begin = time.monotonic()
    assert run_code("while True: pass", Limits(seconds=300, cpu_seconds=1)).status == "timed out"
    assert time.monotonic() - begin < 100


def test_open_files_are_limited(contained):
    outcome = run_code("import os\npipes = [os.pipe() for _ in range(99)]")
    assert "Too many open files" in outcome.output


def test_a_crash_is_contained(contained):
    outcome = run_code("import ctypes\nctypes.string_at(0)")
    assert outcome.status == "failed"


@pytest.mark.parametrize(
    "leaving", ["import sys\nsys.exit(0)", "import os\nos._exit(0)", "exit()", "raise ValueError('ä')"]
)
def test_only_who_comes_to_the_end_passes(contained, leaving):
    assert run_code("x = 1 + 1\nassert x == 2").passed
    outcome = run_code(leaving)
    assert (outcome.passed, outcome.status) == (False, "failed")
    assert ("ä" in leaving) == ("ValueError: ä" in outcome.output)


@pytest.mark.parametrize("text", ["\ud800", "\0", "def", "x" * 30_000])
def test_what_is_no_program_fails(contained, text):
    assert run_code(text).status == "failed"


def test_what_it_reads_is_nothing(contained):
    assert "EOFError" in run_code("input()").output


@pytest.fixture
def other_bwrap(tmp_path, monkeypatch):
    def made(text: str | None) -> None:
        if text is not None:
            (tmp_path / "bwrap").write_text(text)
            (tmp_path / "bwrap").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(sandbox, "check_sandbox", sandbox.check_sandbox.__wrapped__)

    return made


def test_without_bubblewrap_nothing_is_run(other_bwrap):
    other_bwrap(None)
    with pytest.raises(NoSandbox, match=r"bwrap is not installed.*sudo apt-get install bubblewrap"):
        run_code("print(1)")


def test_where_it_may_not_make_namespaces_nothing_is_run(other_bwrap):
    other_bwrap("#!/bin/sh\necho 'bwrap: No permissions to create new namespace'\nexit 1\n")
    with pytest.raises(NoSandbox, match="No permissions to create new namespace"):
        run_code("print(1)")


def test_a_bubblewrap_that_contains_nothing_is_refused(other_bwrap):
    """It runs what it is told, outside."""
    other_bwrap('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    with pytest.raises(NoSandbox):
        run_code("print(1)")


@pytest.mark.parametrize(("left_out", "says"), [("--seccomp", "a network can be reached"), ("NPROC", "not limited")])
def test_the_trial_sees_what_is_missing(contained, monkeypatch, left_out, says):
    command, most = sandbox.bubblewrap.command, sandbox._most

    def without_filter(*arguments):
        words = command(*arguments)
        place = words.index("--seccomp")
        return words[:place] + words[place + 2 :]

    if left_out == "NPROC":
        monkeypatch.setattr(sandbox, "_most", lambda *of: most(*of) | {"NPROC": 999})
    else:
        monkeypatch.setattr(sandbox.bubblewrap, "command", without_filter)
    with pytest.raises(NoSandbox, match=says):
        sandbox.check_sandbox.__wrapped__()


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"processes": -1}, {"output": 0}, {"memory": 100 << 20}])
def test_limits_that_are_none_are_refused(wrong):
    with pytest.raises(BadInput, match=next(iter(wrong))):
        Limits(**wrong)

"""The command line that makes a sandbox: namespaces, and of the host's files those that Python needs, read-only."""

import os
import secrets
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

_NAMESPACES = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
_SETUP = ("--hostname", "sandbox", "--die-with-parent", "--new-session", "--clearenv", "--chdir", "/")
_FIRST_UID, _UIDS = 2_000_000_000, 100_000_000  # above all that Debian, systemd and containers give out


def own_uid() -> int | None:
    """A user that nobody else is, whose processes the kernel counts apart. None: who isn't root stays who they are,
    and has a user namespace, where processes are counted apart too."""
    return _FIRST_UID + secrets.randbelow(_UIDS) if os.geteuid() == 0 else None


def command(program: int, filter: int, inside: list[str], uid: int | None) -> list[str]:
    """program, filter: open files, the Python text and the filter of system calls. inside: arguments of Python."""
    rights = ["--cap-drop", "ALL"]
    rights += ["--unshare-user"] if uid is None else ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    text = ["--perms", "0444", "--file", str(program), "/program.py"]
    closed = ["--remount-ro", "/", "--seccomp", str(filter)]
    return ["bwrap", *_NAMESPACES, *_SETUP, *rights, *_files(), *text, *closed, "--", _python(), *inside]


def _files() -> Iterator[str]:
    devices = ["/dev/null", "/dev/urandom"]
    bound = [_python(), *_libraries(), _standard_library()]
    for parent in sorted({str(parent) for path in (*devices, *bound) for parent in Path(path).parents}):
        yield from ("--dir", parent)  # bwrap's own would be closed to all but root where the host's are
    for path in devices:
        yield from ("--dev-bind", path, path)
    for path in bound:
        yield from ("--ro-bind", path, path)
    for path in Path(_standard_library()).glob("*-packages"):
        yield from ("--tmpfs", str(path), "--remount-ro", str(path))


def _python() -> str:
    return os.path.realpath(sys.executable)


def _standard_library() -> str:
    return os.path.realpath(sysconfig.get_path("stdlib"))


def _libraries() -> Iterator[str]:
    """Folders of the system's shared libraries, the loader of programs, and Python's own library."""
    tuple_ = sysconfig.get_config_var("MULTIARCH") or "none"
    folders = ["/lib64", "/usr/lib64", f"/lib/{tuple_}", f"/usr/lib/{tuple_}", "/lib/ld-linux-aarch64.so.1"]
    own = Path(sys.base_prefix, "lib").glob("libpython3*.so*")
    yield from (str(path) for path in (*map(Path, folders), *own, Path("/etc/ld.so.cache")) if path.exists())

"""Things outside a sandbox that a program in it may be after."""

import os
import secrets
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

CRY = "escaped"


class Outside:
    """A secret file, servers on the network and on Unix sockets, a process and an open file of this user."""

    def __init__(self, folder: Path, stack: ExitStack):
        self.secret = folder / "secret"
        self.secret.write_text(CRY)
        self.folder, self.name = folder, secrets.token_hex(8)
        tcp, udp, path, abstract = (
            stack.enter_context(socket.socket(family, kind))
            for family, kind in [
                (socket.AF_INET, socket.SOCK_STREAM),
                (socket.AF_INET, socket.SOCK_DGRAM),
                (socket.AF_UNIX, socket.SOCK_STREAM),
                (socket.AF_UNIX, socket.SOCK_STREAM),
            ]
        )
        tcp.bind(("127.0.0.1", 0))
        udp.bind(("127.0.0.1", 0))
        path.bind(str(folder / "socket"))
        abstract.bind(f"\0{self.name}")
        for server in (tcp, path, abstract):
            server.listen()
        self.tcp, self.udp = tcp.getsockname()[1], udp.getsockname()[1]
        self.victim = stack.enter_context(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]))
        stack.callback(self.victim.kill)
        self.open_file = os.open(self.secret, os.O_RDONLY)
        stack.callback(os.close, self.open_file)
        os.set_inheritable(self.open_file, True)

    def told(self, program: str) -> str:
        """The program, with what it is after."""
        values = {"secret": str(self.secret), "folder": str(self.folder), "abstract": self.name, "tcp": self.tcp}
        values |= {"udp": self.udp, "victim": self.victim.pid, "open_file": self.open_file, "us": os.getpid()}
        return "\n".join(f"{name} = {value!r}" for name, value in values.items()) + "\n" + program


def processes_with(words: str) -> list[int]:
    """Whose command line has these words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes()
        except OSError:
            continue
        if words.encode() in text:
            found.append(int(path.parent.name))
    return found

"""The process: one socket, uvicorn, and a stop that lets requests end."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from ipaddress import ip_address
from types import FrameType
from typing import TextIO

import uvicorn

from divebell.errors import BadInput
from divebell.serve.app import make_app
from divebell.serve.keys import Keys
from divebell.serve.service import Service
from divebell.serve.shelf import Shelf

LOG = logging.getLogger(__name__)
BACKLOG = 1024
IDLE = 75  # seconds of a connection between requests: clients give theirs up after 5 (httpx) to 60, before us
LAST_WORDS = 2  # seconds for connections to close after their requests have ended or were cut off


def check_reach(host: str, keys: Keys) -> None:
    """A server that others can reach needs a key."""
    if not keys and not is_loopback(host):
        raise BadInput(
            f"host is {host}, which other machines can reach, and there are no API keys: give --api-key-file, "
            "or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Raises BadInput where the address can't be had."""
    if not 0 <= port < 1 << 16:
        raise BadInput(f"port is {port}; it must be 0 to {(1 << 16) - 1}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        place = socket.socket(family, kind, protocol)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(address)
    except OSError as problem:
        reason = problem.strerror or problem
        raise BadInput(f"can't listen on {host}, port {port}: {reason}; give another --host or --port") from None
    return place


def url(place: socket.socket) -> str:
    host, port = place.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """The first signal drains: no new requests, those in flight have the grace time. The second ends it at once.

    log: where a JSON line for each request goes; by default stdout. shelf: of adapters that clients may load. ready:
    called when it listens.
    """

    def __init__(
        self,
        service: Service,
        log: TextIO | None = None,
        shelf: Shelf | None = None,
        ready: Callable[[], None] = lambda: None,
    ):
        config = uvicorn.Config(
            make_app(service, log, shelf),
            access_log=False,
            log_config=None,
            log_level=logging.WARNING,
            lifespan="on",
            ws_max_size=service.limits.body,
            backlog=BACKLOG,
            server_header=False,
            timeout_keep_alive=IDLE,
            timeout_graceful_shutdown=LAST_WORDS,
        )
        super().__init__(config)
        self._service, self._ready = service, ready
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        for place in sockets or ():
            LOG.info("ready at %s, with %s", url(place), ", ".join(self._service.offers))
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._service.draining:
            self._loop.call_soon_threadsafe(self._cut_off)
            return
        self._service.draining = True
        LOG.info("%s: no new requests; those in flight have %g s", signal.Signals(sig).name, self._service.limits.grace)
        asyncio.run_coroutine_threadsafe(self._drain(), self._loop)

    async def _drain(self) -> None:
        if not await self._service.drained():
            LOG.warning("the grace time is over; requests are cut off")
        self._cut_off()

    def _cut_off(self) -> None:
        self._service.cut_off()
        self.should_exit = True


def run(service: Service, place: socket.socket, shelf: Shelf | None = None) -> None:
    """Until a signal, and then until the requests in flight have ended or the grace time is over."""
    with place:
        Server(service, shelf=shelf, ready=service.measure).run([place])

"""An HTTP server on loopback whose faults are scripted, request by request."""

import re
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Handler", bytes], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers)))
        content = self.server.files.get(self.path)
        script = self.server.scripts.get(self.path, [])
        answer = script.pop(0) if script else whole
        self.close_connection = True
        if content is None and answer is whole:
            answer = status(404)
        with suppress(BrokenPipeError, ConnectionResetError):
            answer(self, content if content is not None else b"")

    do_HEAD = do_GET

    def start(self, code: int, **headers: object) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if kind := self.server.kinds.get(self.path):
            self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()

    def asked_from(self, etag: str = '"1"') -> int:
        """The first byte that a valid Range asks for; 0 without one, or when If-Range names another file."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found and self.headers.get("If-Range", etag) == etag else 0

    def log_message(self, *arguments):
        pass


def whole(handler: Handler, content: bytes, upto: int | None = None, etag: str = '"1"') -> None:
    """A well-behaved server's answer; `upto`: the connection breaks when the file has been sent that far."""
    begin = handler.asked_from(etag)
    headers = {"ETag": etag, "Content_Length": len(content) - begin}
    if begin:
        headers["Content_Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
    handler.start(206 if begin else 200, **headers)
    if handler.command == "GET":
        handler.wfile.write(content[begin:upto])


def truncated(upto: int) -> Answer:
    return lambda handler, content: whole(handler, content, upto)


def changed(etag: str) -> Answer:
    return lambda handler, content: whole(handler, content, etag=etag)


def without_ranges(handler: Handler, content: bytes) -> None:
    handler.start(200, Content_Length=len(content))
    handler.wfile.write(content)


def false_range(handler: Handler, content: bytes) -> None:
    handler.start(206, Content_Length=len(content), Content_Range=f"bytes 7-{len(content)}/{len(content)}")
    handler.wfile.write(content)


def wrong(handler: Handler, content: bytes) -> None:
    whole(handler, bytes(len(content)))


def too_long(handler: Handler, content: bytes) -> None:
    handler.start(200)
    handler.wfile.write(content + b"more")


def status(code: int) -> Answer:
    return lambda handler, content: handler.start(code, Content_Length=0)


def redirect(to: str) -> Answer:
    return lambda handler, content: handler.start(302, Location=to, Content_Length=0)


def silent(handler: Handler, content: bytes) -> None:
    handler.server.released.wait(20)


def silent_after_headers(handler: Handler, content: bytes) -> None:
    handler.start(200, Content_Length=len(content))
    handler.server.released.wait(20)


def slow(handler: Handler, content: bytes) -> None:
    """The second half comes a little at a time."""
    begin = handler.asked_from()
    middle = max(begin, len(content) // 2)
    handler.start(200, Content_Length=len(content), ETag='"1"')
    handler.wfile.write(content[begin:middle])
    for position in range(middle, len(content), 64):
        handler.wfile.write(content[position : position + 64])
        time.sleep(0.05)


@contextmanager
def file_server():
    """Serves `files` (path -> bytes) as `kinds` say; `scripts` (path -> answers) are used up first, one a request."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.files, server.kinds, server.scripts = {}, {}, {}
    server.requests, server.released = [], threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()

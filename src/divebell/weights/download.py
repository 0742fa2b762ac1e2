"""One file over HTTP, continued where an earlier attempt stopped (RFC 9110: range requests, If-Range)."""

import os
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from functools import lru_cache
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from re import fullmatch
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import HTTPSHandler, Request, build_opener

from divebell.weights.store import beside

FIRST_BYTE_SECONDS = 5.0
STALL_SECONDS = 10.0
ATTEMPTS = 3
PAUSE_SECONDS = 1.0


class SourceFailure(Exception):
    """A source did not give the file. passing: the same source may well give it when asked again."""

    def __init__(self, reason: str, passing: bool = False):
        super().__init__(reason)
        self.passing = passing


def fetch(url: str, part: Path, size: int, show: Callable[[int], None]) -> None:
    """Brings `part` up to `size` bytes with what lies at `url`, keeping the bytes that it already has.

    A passing fault (a broken connection, an overloaded server) is tried again while that brings more bytes, and
    ATTEMPTS times when it does not. SourceFailure says why the rest can't be had; `part` then keeps what came.
    """
    failures, furthest = 0, length(part)
    while length(part) < size:
        try:
            _continue(url, part, size, show)
        except SourceFailure as failure:
            progressed = length(part) > furthest
            failures, furthest = 1 if progressed else failures + 1, max(furthest, length(part))
            if not failure.passing or failures >= ATTEMPTS:
                raise
            time.sleep(PAUSE_SECONDS * failures)


def discard(part: Path) -> None:
    """Removes a download, begun or done, and what is remembered of it."""
    part.unlink(missing_ok=True)
    beside(part, ".etag").unlink(missing_ok=True)


def length(path: Path) -> int:
    """Bytes of a file that may not be there."""
    return path.stat().st_size if path.exists() else 0


def _continue(url: str, part: Path, size: int, show: Callable[[int], None]) -> None:
    have, etag = length(part), _etag(part)
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and etag:
        headers["If-Range"] = etag
    with open_url(url, headers) as response:
        start = _start(response, have, size)
        if start == 0:
            _remember_etag(part, response.headers.get("ETag", ""))
        _write(response, part, start, size, show)


def _start(response: HTTPResponse, have: int, size: int) -> int:
    """Where in the file the response's body begins; SourceFailure when it is not the file that was asked for."""
    if response.status == 206:
        found = fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if not found or int(found[1]) != have or found[2] not in (str(size), "*"):
            raise SourceFailure(
                f"answered with a range that was not asked for: {response.headers.get('Content-Range')}"
            )
        return have
    stated = response.headers.get("Content-Length", str(size))
    if stated != str(size):
        raise SourceFailure(f"its file has {stated} bytes, not {size}")
    return 0


def _write(response: HTTPResponse, part: Path, start: int, size: int, show: Callable[[int], None]) -> None:
    with part.open("r+b" if part.exists() else "wb") as file:
        file.truncate(start)
        file.seek(start)
        try:
            while chunk := response.read1(1 << 18):
                if file.tell() + len(chunk) > size:
                    raise SourceFailure(f"sent more than the {size} bytes that the file has")
                file.write(chunk)
                show(file.tell())
        except (OSError, HTTPException) as fault:
            raise SourceFailure(f"broke off after {file.tell()} of {size} bytes ({fault})", passing=True) from fault
        if file.tell() < size:
            raise SourceFailure(f"broke off after {file.tell()} of {size} bytes", passing=True)


def _etag(part: Path) -> str:
    path = beside(part, ".etag")
    return path.read_text() if path.exists() else ""


def _remember_etag(part: Path, etag: str) -> None:
    """Keeps a strong validator; a weak one (W/"...") may not be used with ranges."""
    if etag.startswith('"') and etag.isprintable():
        beside(part, ".etag").write_text(etag)
    else:
        beside(part, ".etag").unlink(missing_ok=True)


def open_url(url: str, headers: dict[str, str], authorization: str = "") -> HTTPResponse:
    """The answer to a GET, its first bytes at hand; SourceFailure when they are not there after FIRST_BYTE_SECONDS.

    `authorization`, or else a name and password in the URL as HTTP basic, is never sent on to where a server redirects.
    """
    address = urlsplit(url)
    host = address.hostname or url
    plain = urlunsplit(address._replace(netloc=address.netloc.rpartition("@")[2]))
    request = Request(plain, headers={"User-Agent": "divebell", "Accept-Encoding": "identity", **headers})
    if address.username:
        pair = f"{unquote(address.username)}:{unquote(address.password or '')}"
        authorization = f"Basic {b64encode(pair.encode()).decode()}"
    if authorization:
        request.add_unredirected_header("Authorization", authorization)
    return _within(FIRST_BYTE_SECONDS, host, lambda: _open(request, host))


def _open(request: Request, host: str) -> HTTPResponse:
    try:
        response = build_opener(HTTPSHandler(context=_certificates(_trusted_file()))).open(
            request, timeout=STALL_SECONDS
        )
        response.peek(1)
        return response
    except HTTPError as error:
        raise SourceFailure(
            f"{host} answered {error.code} {error.reason}", error.code == 429 or error.code >= 500
        ) from None
    except URLError as error:
        raise SourceFailure(f"{host} can't be reached ({error.reason})") from None
    except (OSError, HTTPException, ValueError) as error:
        raise SourceFailure(f"{host} can't be reached ({error or type(error).__name__})") from None


def _trusted_file() -> str | None:
    """The certificates that the person's other tools have been told to trust; None: the system's."""
    own = (os.environ.get(name) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT"))
    return next((file for file in own if file and Path(file).is_file()), None)


@lru_cache
def _certificates(file: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=file)


def _within(seconds: float, host: str, call: Callable[[], HTTPResponse]) -> HTTPResponse:
    """The call's result or SourceFailure; a call that takes longer is left behind in its thread.

    A socket's own time limit starts anew with every address and redirect, and does not cover looking up the name.
    """
    outcome: list = []

    def run() -> None:
        try:
            outcome.append(call())
        except SourceFailure as failure:
            outcome.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    result = outcome[0] if outcome else SourceFailure(f"{host} did not answer within {seconds:g} seconds")
    if isinstance(result, SourceFailure):
        raise result
    return result

"""What every request passes before anything of it is believed: host, origin, key, size, and a server that goes on.

Also the place where a request is counted and written down.
"""

import asyncio
import logging
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from divebell.serve.access import AccessLog
from divebell.serve.hosts import is_expected
from divebell.serve.limits import Limits
from divebell.serve.paths import OPEN, as_looked_up, of_page
from divebell.serve.receipt import headers
from divebell.serve.record import SCOPE, Record, record_of
from divebell.serve.refusal import Refusal, stopping
from divebell.serve.service import Service
from divebell.serve.sessions import COOKIE

LOG = logging.getLogger(__name__)
BODY_SECONDS = 60.0

Answer = Callable[[Scope, Refusal], ASGIApp]


class Gate:
    """refuse: makes the response to a refusal. access: where each request is written down."""

    def __init__(self, app: ASGIApp, service: Service, refuse: Answer, access: AccessLog):
        self._app, self._service, self._refuse = app, service, refuse
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        client, opens = (scope.get("client") or ("",))[0], scope["type"] == "websocket"
        method, scope = "WEBSOCKET" if opens else scope["method"], as_looked_up(scope)
        record = scope[SCOPE] = Record(client, method, scope["path"])
        if opens:
            return await self._open(scope, receive, send)
        with self._access.request(record):
            await self._pass(scope, receive, _marked(record, send))

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A page's connection; it is idle most of the time, so a stop does not wait for it. Refused, it gets a 403."""
        record = record_of(scope)
        with self._access.connection(record):
            try:
                self._check(scope, record)
            except Refusal as refusal:
                record.status = 403
                return await send({"type": "websocket.close", "code": 1008, "reason": refusal.detail[:100]})
            record.status = 101
            await self._app(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._check(scope, record_of(scope))
        except Refusal as refusal:
            await self._refuse(scope, refusal)(scope, receive, send)
        else:
            await self._serve(scope, Body(receive, self._service.limits), send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = record_of(scope)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:  # by the server, whose last words have taken too long
            await self._fail(scope, receive, send, stopping())
        except Exception:
            LOG.exception("request %s failed", record.id)
            refusal = Refusal(500, f"an error of ours; the server's log has more at {record.id}")
            await self._fail(scope, receive, send, refusal)
        finally:
            record.route = scope["route"].path_format if "route" in scope else None

    async def _fail(self, scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
        """In the protocol's words too, if nothing has been sent yet."""
        record = record_of(scope)
        if record.status:
            record.status = refusal.status_code
        else:
            await self._refuse(scope, refusal)(scope, receive, send)

    def _check(self, scope: Scope, record: Record) -> None:
        headers, service = Headers(scope=scope), self._service
        self._check_host(headers.get("host", ""))
        self._check_origin(headers.get("origin"), headers.get("host", ""), of_page(scope["path"]))
        if service.keys and scope["path"] not in OPEN:
            record.key = self._signed_in(scope) or self._owner(headers)
        if service.draining and record.method in ("POST", "WEBSOCKET"):
            raise stopping()
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > service.limits.body:
            raise service.limits.body_too_large()

    def _check_host(self, host: str) -> None:
        if not is_expected(host, self._service.hosts):
            raise Refusal(403, f"the Host header is {host!r:.200}; allow it with --allow-host if it is this server's")

    def _check_origin(self, origin: str | None, host: str, own: bool) -> None:
        """A web page may ask if it is our own, or named with --cors; browsers send some requests unasked.

        own: only our own page may.
        """
        if origin is None or (not own and (origin in self._service.origins or "*" in self._service.origins)):
            return
        if origin == "null" or urlsplit(origin).netloc.lower() != host.lower():
            raise Refusal(403, f"web pages of {origin!r:.200} may not ask here; allow them with --cors")

    def _signed_in(self, scope: Scope) -> str | None:
        """Who signed in on the page; that counts for the page alone."""
        cookies = HTTPConnection(scope).cookies
        return self._service.sessions.owner(cookies.get(COOKIE, "")) if of_page(scope["path"]) else None

    def _owner(self, headers: Headers) -> str:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        key = bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if not key:
            raise Refusal(401, "an API key is needed: Authorization: Bearer KEY, or x-api-key: KEY", code="no_api_key")
        owner = self._service.keys.owner(key)
        if owner is None:
            raise Refusal(401, "this API key is not known here", code="invalid_api_key")
        return owner


class Body:
    """`receive` that lets no larger body through than the limits allow, and does not wait for it forever."""

    def __init__(self, receive: Receive, limits: Limits):
        self._receive, self._limits, self._left = receive, limits, limits.body
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                message = await self._receive()
        except TimeoutError:
            raise Refusal(408, f"no more of the body came for {BODY_SECONDS:g} s") from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise self._limits.body_too_large()
        self._complete = not message.get("more_body", False)
        return message


def _marked(record: Record, send: Send) -> Send:
    """Notes the status, and gives the client the request's id."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            record.status = message["status"]
            ids = [(name, record.id.encode()) for name in (b"x-request-id", b"request-id")]
            message = {**message, "headers": [*message.get("headers", ()), *ids, *headers(record.receipt)]}
        await send(message)

    return marked

"""The page as a part of the application. NiceGUI is imported with the first visit: a server is ready without it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec

from fastapi import FastAPI
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from divebell.serve.access import AccessLog
from divebell.serve.paths import of_page
from divebell.serve.record import record_of
from divebell.serve.service import Service

NEEDED = ("nicegui", "latex2mathml", "markdown_it", "mdit_py_plugins", "pygments")  # the extra `ui`
MISSING = (
    "The page needs the extra `ui`: pip install 'divebell[ui]' (in a clone: python3 scripts/environment.py ui), and "
    "start the server again. Everything else works without it.\n"
)
SCOPE = "divebell.page"
HERE = HTMLResponse()  # to an agent or a monitor that asks whether anybody is there, and needs no page for it
# Whatever a model writes, nothing is fetched from or sent to elsewhere. Vue compiles its templates in the browser.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
]


class Page:
    """What the views need of the server. NiceGUI has one application in a process, so one server has the page."""

    def __init__(self, service: Service, access: AccessLog):
        self.service, self.access = service, access
        self._app: ASGIApp | None = None
        self._lock = asyncio.Lock()
        self._exit = AsyncExitStack()

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Of the application: lets go of the page in the end, if anybody has looked at it."""
        async with self._exit:
            yield

    async def app(self) -> ASGIApp:
        """The page's own application, begun when first asked for."""
        async with self._lock:
            if self._app is None:
                self._app = await self._begin()
        return self._app

    async def _begin(self) -> ASGIApp:
        if not all(map(find_spec, NEEDED)):
            return PlainTextResponse(MISSING, 404)
        app = await asyncio.to_thread(_made)
        await self._exit.enter_async_context(app.router.lifespan_context(app))
        return app


class Mount:
    """Middleware: the page's paths go to the page."""

    def __init__(self, app: ASGIApp, page: Page):
        self._app, self._page = app, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or not of_page(scope["path"]):
            return await self._app(scope, receive, send)
        app = HERE if record_of(scope).method == "HEAD" else await self._page.app()
        await app({**scope, SCOPE: self._page}, receive, _guarded(send))


def _made() -> FastAPI:
    from nicegui import ui

    from divebell.serve.ui.root import root

    app = FastAPI(openapi_url=None)
    ui.run_with(app, root=root, title="divebell", dark=None, show_welcome_message=False)
    return app


def _guarded(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return guarded

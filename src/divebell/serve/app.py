"""The application: routes, and errors in the words of each protocol."""

from typing import TextIO

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import Scope

from divebell import __version__
from divebell.errors import DivebellError
from divebell.serve import admin
from divebell.serve.access import AccessLog
from divebell.serve.anthropic import messages
from divebell.serve.complaint import complaint
from divebell.serve.errors import as_refusal
from divebell.serve.gate import Gate
from divebell.serve.openai import adapters, chat, completions, embeddings, models, responses, tokens
from divebell.serve.paths import PAGE, SIGN_IN, astray
from divebell.serve.record import record_of
from divebell.serve.refusal import Refusal, anthropic_error, openai_error
from divebell.serve.service import Service
from divebell.serve.shelf import Shelf
from divebell.serve.ui import sign_in
from divebell.serve.ui.mount import Mount, Page

PARTS = (admin, adapters, chat, completions, embeddings, models, responses, tokens, messages, sign_in)
KNOWN = {route.path for part in PARTS for route in part.router.routes}


def make_app(service: Service, log: TextIO | None = None, shelf: Shelf | None = None) -> FastAPI:
    """log: where a JSON line for each request goes; by default stdout. shelf: of adapters that clients may load."""
    access = AccessLog(service, log)
    page = Page(service, access)
    app = FastAPI(title="divebell", version=__version__, docs_url=None, redoc_url=None, lifespan=page.lifespan)
    app.router.redirect_slashes = False  # a redirect would lose the way behind a proxy, and some clients their body
    app.state.service, app.state.shelf = service, shelf
    for part in PARTS:
        app.include_router(part.router)
    app.add_exception_handler(HTTPException, lambda request, error: refused(request.scope, explained(request, error)))
    app.add_exception_handler(RequestValidationError, lambda request, error: refused(request.scope, complaint(error)))
    app.add_exception_handler(DivebellError, lambda request, error: refused(request.scope, as_refusal(error)))
    app.add_middleware(Mount, page=page)
    app.add_middleware(Gate, service=service, refuse=refused, access=access)
    if service.origins:
        app.add_middleware(CORSMiddleware, allow_origins=service.origins, allow_methods=["*"], allow_headers=["*"])
    return app


def explained(request: Request, error: HTTPException) -> HTTPException:
    """The router's own two words, as a sentence."""
    path, status = request.url.path, error.status_code
    if status == 404 and not isinstance(error, Refusal):
        return Refusal(404, astray(path, KNOWN))
    if status == 405:
        error.detail = f"{path:.200} does not take {record_of(request.scope).method}, only {error.headers['Allow']}"
    return error


def refused(scope: Scope, refusal: HTTPException) -> Response:
    """The response to a refusal, in the protocol of the path."""
    if scope["path"] == PAGE and refusal.status_code == 401:
        return RedirectResponse(SIGN_IN, 303)
    body = openai_error(refusal)
    if scope["path"].startswith("/v1/messages"):
        body = anthropic_error(refusal, record_of(scope).id)
    return JSONResponse(body, refusal.status_code, refusal.headers)

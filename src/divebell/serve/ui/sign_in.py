"""Where a server with keys asks for one before it shows the page. Plain HTML: nothing else of the page is open."""

from html import escape
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from divebell.serve.admin import service_of
from divebell.serve.paths import PAGE, SIGN_IN, SIGN_OUT
from divebell.serve.sessions import COOKIE, LONGEST

router = APIRouter(include_in_schema=False)
MOST_BYTES = 4096

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
}
FORM = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>divebell</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<style>body {{ font: 1rem system-ui, sans-serif; display: grid; place-content: center; min-height: 90vh }}
form {{ display: grid; gap: 0.8rem; width: min(20rem, 90vw) }} input, button {{ font: inherit; padding: 0.5rem }}
h1 {{ font-size: 1.2rem; margin: 0 }}</style></head><body><form method="post" action="{path}"><h1>divebell</h1>
<label for="key">API key of this server</label><input id="key" name="key" type="password" required autofocus
autocomplete="current-password"><button>Sign in</button><p role="alert">{problem}</p></form></body></html>"""


@router.get(SIGN_IN)
async def form(request: Request) -> Response:
    """Asks for a key."""
    return _form() if service_of(request).keys else RedirectResponse(PAGE, 303)


@router.post(SIGN_IN)
async def sign_in(request: Request) -> Response:
    """A right key begins a session; after some wrong ones a client has to wait."""
    service, client = service_of(request), request.client.host if request.client else ""
    key = await _key(request)
    if wait := service.sessions.wait(client):
        return _form(f"Too many wrong keys; try again in {wait} s.", 429, {"Retry-After": str(wait)})
    owner = service.keys.owner(key)
    if owner is None:
        service.sessions.failed(client)
        return _form("This key is not known here.", 401)
    response = RedirectResponse(PAGE, 303)
    secure = request.url.scheme == "https"
    token = service.sessions.begin(owner)
    response.set_cookie(COOKIE, token, int(LONGEST), secure=secure, httponly=True, samesite="strict")
    return response


@router.post(SIGN_OUT)
async def sign_out(request: Request) -> Response:
    """Ends the session."""
    service_of(request).sessions.end(request.cookies.get(COOKIE, ""))
    response = RedirectResponse(SIGN_IN, 303)
    response.delete_cookie(COOKIE)
    return response


async def _key(request: Request) -> str:
    """Of a form as browsers send it; "" where there is none."""
    body = await request.body()
    if len(body) > MOST_BYTES:
        return ""
    return parse_qs(body.decode("ascii", "replace")).get("key", [""])[0].strip()


def _form(problem: str = "", status: int = 200, more: dict[str, str] | None = None) -> Response:
    return HTMLResponse(FORM.format(path=SIGN_IN, problem=escape(problem)), status, HEADERS | (more or {}))

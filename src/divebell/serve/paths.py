"""Which paths are the page's, which need no key, and what a client that has lost its way is told."""

from collections.abc import Collection

from starlette.types import Scope

PAGE = "/"
PREFIX = "/_nicegui"  # of its files, uploads and websocket
SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
OPEN = ("/health", SIGN_IN, SIGN_OUT)  # for a supervisor, which has no key, and for whoever comes or goes


def of_page(path: str) -> bool:
    """Whether the page answers it."""
    return path == PAGE or path.startswith(PREFIX)


def as_looked_up(scope: Scope) -> Scope:
    """A slash at the end of a path makes no difference; HEAD is a GET whose body the server's protocol leaves out."""
    path = scope["path"] if of_page(scope["path"]) else scope["path"].rstrip("/") or scope["path"]
    method = {"method": "GET"} if scope.get("method") == "HEAD" else {}
    return {**scope, "path": path} | method


def astray(path: str, known: Collection[str]) -> str:
    """A sentence for a path that there is not. known: those that there are."""
    near = (f"/v1{path}", path.replace("/v1/v1/", "/v1/"), path.removeprefix("/api"))
    meant = next((other for other in near if other in known), None)
    hint = f"; you may want {meant}, so look at the base URL that your client was given" if meant else ""
    return f"there is no {path:.200} here{hint}"

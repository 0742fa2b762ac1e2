"""Which paths are the page's, and which need no key."""

PAGE = "/"
PREFIX = "/_nicegui"  # of its files, uploads and websocket
SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
OPEN = ("/health", SIGN_IN, SIGN_OUT)  # for a supervisor, which has no key, and for whoever comes or goes


def of_page(path: str) -> bool:
    """Whether the page answers it."""
    return path == PAGE or path.startswith(PREFIX)

"""Which paths are the page's, and which need no key."""

PAGE = "/"
PREFIX = "/_nicegui"  # of its files, uploads and websocket
SIGN_IN = "/sign-in"
OPEN = ("/health", SIGN_IN)  # for a supervisor, which has no key, and for those who are about to give theirs


def of_page(path: str) -> bool:
    """Whether the page answers it."""
    return path == PAGE or path.startswith(PREFIX)

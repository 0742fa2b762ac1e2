"""Where a model behind a server is, as a person writes it: http://HOST:PORT/v1, or NAME=http://HOST:PORT/v1."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from divebell.errors import BadInput


@dataclass(frozen=True, slots=True)
class Address:
    """url: what the protocol's paths come after. model: its name there; empty: the only one that there is."""

    url: str
    model: str


def address(text: str) -> Address | None:
    """None for what is no address. Raises BadInput for one that can't be asked, or that must not be written down."""
    found = re.fullmatch(r"(?:([^=]*)=)?(https?://.*)", text, re.IGNORECASE)
    if not found:
        return None
    url = found[2].rstrip("/")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as problem:
        raise BadInput(f"{url} is no address: {problem}") from None
    if not host:
        raise BadInput(f"{url} has no host; give one such as http://127.0.0.1:8000/v1")
    if parts.username is not None or parts.query or parts.fragment:
        raise BadInput(
            f"the address at {host} must have no user, password, query or #; a key comes from the environment"
        )
    return Address(url, found[1] or "")

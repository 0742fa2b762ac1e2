"""The Host header: whom a client believes that it talks to."""

import re
from collections.abc import Container
from ipaddress import IPv4Address, IPv6Address

_HOST = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[^\s:\[\]/?#@]+))(?::[0-9]*)?")


def is_expected(header: str, names: Container[str]) -> bool:
    """Whether a Host header (RFC 9110, section 7.2) holds an address, or one of `names`, which are in lower case.

    A web page can make its own name point at this machine (DNS rebinding), but then sends that name; an address can't
    be made so. A header that is malformed holds neither.
    """
    found = _HOST.fullmatch(header)
    if not found:
        return False
    if found["six"]:
        return _is(IPv6Address, found["six"])
    return found["name"].lower() in names or _is(IPv4Address, found["name"])


def _is(kind: type[IPv4Address | IPv6Address], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True

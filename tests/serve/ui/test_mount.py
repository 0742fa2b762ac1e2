import re

import httpx
import pytest
from nicegui.testing.general import nicegui_reset_globals
from servers import running, service_of

from divebell.serve.sessions import ATTEMPTS
from divebell.serve.ui import mount

KEY = "sk-anna-1234"
SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.fixture(scope="module")
def guarded(folder):
    origins = ("https://page.example",)
    with nicegui_reset_globals(), running(service_of({"small": folder}, {"anna": KEY}, origins=origins)) as one:
        yield one


@pytest.fixture
def visitor(guarded):
    with httpx.Client(base_url=guarded.url, follow_redirects=True, timeout=60) as client:
        yield client


def sign_in(visitor, key=KEY):
    return visitor.post("/sign-in", data={"key": key})


def open_socket(visitor, **headers):
    return visitor.get(SOCKET, headers=UPGRADE | headers).status_code


def test_who_has_no_key_is_asked_for_one(visitor):
    answer = visitor.get("/")
    assert (answer.url.path, answer.status_code) == ("/sign-in", 200)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert visitor.get("/_nicegui/x").status_code == 401
    assert open_socket(visitor) == 403


def test_a_session_opens_the_page_and_nothing_else(visitor):
    answer = sign_in(visitor)
    assert (answer.url.path, answer.status_code) == ("/", 200)
    assert re.search("HttpOnly.*SameSite=strict", answer.history[0].headers["set-cookie"])
    assert visitor.get("/v1/models").status_code == 401
    visitor.post("/sign-out")
    assert visitor.get("/").url.path == "/sign-in"


def test_nothing_comes_from_elsewhere_and_all_that_is_here_is_found(visitor):
    page = sign_in(visitor)
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "img-src 'self' data: blob:" in policy
    own = set(re.findall(r'["\'](/_nicegui/[^"\']+\.(?:js|css))["\']', page.text))
    assert len(own) > 3
    assert {visitor.get(path).status_code for path in own} == {200}
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page.text)


def test_who_only_asks_whether_anybody_is_there_needs_no_page(visitor, monkeypatch):
    async def none(page):
        raise AssertionError("a page was made")

    sign_in(visitor)
    monkeypatch.setattr(mount.Page, "app", none)
    answer = visitor.head("/")
    assert (answer.status_code, answer.content) == (200, b"")
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_a_page_of_elsewhere_gets_no_connection(guarded, visitor):
    sign_in(visitor)
    for origin in ("https://evil.example", "null", "https://page.example"):
        assert open_socket(visitor, origin=origin) == 403
    assert open_socket(visitor, host="evil.example") == 403
    assert open_socket(visitor, origin=guarded.url) == 101
    guarded.wait_until(lambda: any(line["status"] == 101 for line in guarded.lines()))
    line = next(line for line in guarded.lines() if line["status"] == 101)
    assert line.items() >= {"method": "WEBSOCKET", "key": "anna"}.items()


def test_wrong_keys_can_t_be_tried_for_long(guarded, visitor):
    assert sign_in(visitor, "sk-anna-12345").status_code == 401
    for _ in range(ATTEMPTS - 1):
        sign_in(visitor, "x" * 9)
    answer = sign_in(visitor)
    assert (answer.status_code, "Too many wrong keys" in answer.text) == (429, True)
    assert int(answer.headers["retry-after"]) > 0
    guarded.service.sessions.__init__()
    assert sign_in(visitor).status_code == 200


def test_without_the_extra_it_says_how_to_get_it(server, monkeypatch):
    monkeypatch.setattr(mount, "find_spec", lambda name: None)
    answer = httpx.get(server.url)
    assert (answer.status_code, "pip install 'divebell[ui]'" in answer.text) == (404, True)
    assert httpx.get(f"{server.url}/v1/models").status_code == 200

import httpx
import pytest
from servers import running, service_of

from divebell.serve.limits import Limits

KEYS = {"anna": "sk-anna-1234", "bert": "sk-bert-1234"}
ASK = {"model": "small", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}


@pytest.fixture(scope="module")
def guarded(folder):
    """With keys, a small body limit, and a web page that may ask."""
    limits = Limits(body=4096)
    hosts, origins = frozenset({"localhost", "box.example"}), ("https://page.example",)
    with running(service_of({"small": folder}, KEYS, limits, hosts=hosts, origins=origins)) as one:
        yield one


def ask(server, key=None, **headers):
    if key:
        headers["authorization"] = f"Bearer {key}"
    return httpx.post(f"{server.url}/v1/chat/completions", json=ASK, headers=headers)


def test_a_key_is_needed(guarded):
    answer = ask(guarded)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["type"] == "authentication_error"
    assert "an API key is needed" in answer.json()["error"]["message"]


@pytest.mark.parametrize("headers", [{"authorization": "Bearer sk-anna-1234"}, {"x-api-key": "sk-bert-1234"}])
def test_either_header_holds_it(guarded, headers):
    assert ask(guarded, **headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer sk-anna-123"},
        {"authorization": "Basic sk-anna-1234"},
        {"authorization": "Bearer"},
        {"authorization": b"Bearer \xff\xfe"},
        {"x-api-key": "sk-carl-1234"},
    ],
)
def test_a_wrong_one_is_refused(guarded, headers):
    assert ask(guarded, **headers).status_code == 401


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/openapi.json", "/nowhere"])
def test_everything_else_needs_one_too(guarded, path):
    assert httpx.get(guarded.url + path).status_code == 401


def test_a_supervisor_needs_none(guarded):
    assert httpx.get(f"{guarded.url}/health").json() == {"status": "ok", "models": ["small"]}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "", "127.0.0.1.evil", "[::1"]
)
def test_a_name_that_was_made_to_point_here_is_refused(guarded, host):
    answer = ask(guarded, "sk-anna-1234", host=host)
    assert answer.status_code == 403
    assert "--allow-host" in answer.json()["error"]["message"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:9", "[::1]:8000", "box.example", "10.0.0.7"])
def test_addresses_and_own_names_are_not(guarded, host):
    assert ask(guarded, "sk-anna-1234", host=host).status_code == 200


def test_a_page_of_elsewhere_may_not_ask(guarded):
    for origin in ("https://evil.example", "null", "http://localhost:1"):
        answer = ask(guarded, "sk-anna-1234", origin=origin, host="localhost:2")
        assert answer.status_code == 403
        assert "--cors" in answer.json()["error"]["message"]
    assert ask(guarded, "sk-anna-1234", origin="http://localhost:2", host="localhost:2").status_code == 200


def test_a_named_page_may(guarded):
    answer = ask(guarded, "sk-anna-1234", origin="https://page.example")
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    asked = {"origin": "https://page.example", "access-control-request-method": "POST"}
    assert httpx.options(f"{guarded.url}/v1/chat/completions", headers=asked).status_code == 200
    refused = asked | {"origin": "https://evil.example"}
    assert httpx.options(f"{guarded.url}/v1/chat/completions", headers=refused).status_code == 400


def test_without_cors_no_page_is_told_that_it_may(server):
    answer = httpx.get(f"{server.url}/v1/models", headers={"origin": server.url})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def pieces(size):
    yield from [b" " * 1000] * (size // 1000)


@pytest.mark.parametrize("content", [b" " * 5000, pieces(5000)], ids=["with its length", "in pieces"])
def test_a_body_too_large_is_not_read(guarded, content):
    headers = {"authorization": "Bearer sk-anna-1234", "content-type": "application/json"}
    answer = httpx.post(f"{guarded.url}/v1/chat/completions", content=content, headers=headers)
    assert answer.status_code == 413
    assert answer.json()["error"]["message"] == "the body is larger than the limit of 4.0 KiB (--max-body)"


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/nowhere", 404, "there is no /nowhere here"),
        ("/chat/completions", 404, "you may want /v1/chat/completions"),
        ("/v1/v1/messages", 404, "you may want /v1/messages"),
        ("/v1/chat/completions", 405, "/v1/chat/completions does not take GET, only POST"),
    ],
)
def test_other_paths_are_refused_in_the_protocol_s_words(server, path, status, says):
    answer = httpx.get(server.url + path)
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/health", "/metrics", "/v1/models", "/v1/models/small"])
def test_a_monitor_may_ask_for_the_head_alone(server, path):
    head, whole = httpx.head(server.url + path), httpx.get(server.url + path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert httpx.head(f"{server.url}/v1/completions").status_code == 405
    server.wait_until(lambda: server.lines()[-1]["method"] == "HEAD")


def test_a_slash_at_the_end_makes_no_difference(guarded):
    asked = httpx.post(f"{guarded.url}/v1/chat/completions/", json=ASK, headers={"x-api-key": "sk-anna-1234"})
    assert asked.status_code == 200
    assert httpx.get(f"{guarded.url}/health/").status_code == 200
    assert httpx.get(f"{guarded.url}/v1/models/").status_code == 401


def test_the_log_tells_who_and_how_much_but_not_what(guarded):
    answer = ask(guarded, "sk-bert-1234")
    guarded.wait_until(lambda: guarded.lines()[-1]["id"] == answer.headers["x-request-id"])
    line = guarded.lines()[-1]
    assert line.items() >= {"key": "bert", "model": "small", "status": 200, "completion_tokens": 4}.items()
    assert line["prompt_tokens"] > 0
    assert 0 < line["first_token"] <= line["seconds"]
    assert "Hello" not in guarded.log.getvalue()
    assert "sk-" not in guarded.log.getvalue()

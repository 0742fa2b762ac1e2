"""Requests to a server with every fault that such servers have."""

import asyncio
import time
from email.utils import formatdate

import pytest
from fake_server import Fake, serving

from divebell.errors import EndpointError
from divebell.evaluate.client import TRIES, Client

KEY = "sk-very-secret"
BUSY = (429, {"retry-after": "0"}, b'{"error": {"message": "slow down"}}')
BROKEN = (500, {}, b"oops")
GARBAGE = (200, {}, b"<html>hello</html>")


@pytest.fixture
def fake():
    with serving(Fake()) as one:
        yield one


def hang_up(handler):
    handler.close_connection = True


def hang(handler):
    time.sleep(0.6)
    hang_up(handler)


def drip(handler):
    """Something now and then, so that no single read takes long."""
    handler.send_response(200)
    handler.send_header("content-length", "100000")
    handler.end_headers()
    for _ in range(10):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)
    hang_up(handler)


def ask(fake: Fake, seconds: float = 5.0, path: str = "completions", url: str = "") -> dict:
    async def once():
        client = Client(url or fake.url, KEY, seconds, first_wait=0.001)
        try:
            return await client.ask(path, {"prompt": "a"})
        finally:
            await client.close()

    return asyncio.run(once())


@pytest.mark.parametrize("fault", [BUSY, BROKEN, GARBAGE, (200, {}, b"[]"), (200, {}, b""), (503, {}, b""), hang_up])
def test_what_may_pass_is_asked_again(fake, fault):
    fake.faults = [fault] * (TRIES - 1)
    assert ask(fake)["choices"][0]["text"] == "The answer is 4"
    assert len(fake.asked) == TRIES


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (BUSY, f"answered with status 429: slow down; {TRIES} tries"),
        (BROKEN, f"answered with status 500: 'oops'; {TRIES} tries"),
        (GARBAGE, f"answered with no JSON object: '<html>hello</html>'; {TRIES} tries"),
        (hang_up, f"can't be reached: .*; {TRIES} tries"),
    ],
)
def test_what_does_not_pass_is_told(fake, fault, says):
    fake.faults = [fault] * TRIES
    with pytest.raises(EndpointError, match=f"{fake.url}/completions {says}"):
        ask(fake)
    assert len(fake.asked) == TRIES


@pytest.mark.parametrize("fault", [hang, drip])
def test_an_answer_has_its_time(fake, fault):
    fake.faults = [fault] * TRIES
    with pytest.raises(EndpointError, match=f"gave no answer within 0.1 s; {TRIES} tries"):
        ask(fake, seconds=0.1)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ((400, {}, b'{"error": {"message": "no such field", "param": "echo"}}'), "status 400: no such field"),
        ((401, {}, b'{"detail": "who are you?"}'), r"status 401: who are you\?"),
        ((404, {}, b'{"error": "no model"}'), "status 404: no model"),
        ((307, {"location": "http://elsewhere/"}, b""), "status 307: nothing"),
        ((400, {}, b'{"error": {"message": 7}}'), "status 400: '"),
        ((400, {}, b"[" * 100_000), r"status 400: '\[\["),
    ],
)
def test_a_refusal_is_told_at_once(fake, fault, says):
    fake.faults = [fault]
    with pytest.raises(EndpointError, match=says) as told:
        ask(fake)
    assert told.value.status == fault[0]
    assert len(fake.asked) == 1
    assert len(str(told.value)) < 500


@pytest.mark.parametrize("later", [lambda: "1", lambda: formatdate(time.time() + 1.5, usegmt=True)])
def test_a_server_is_given_the_time_that_it_asks_for(fake, later):
    fake.faults = [(429, {"retry-after": later()}, b"")]
    begun = time.monotonic()
    ask(fake)
    assert time.monotonic() - begun > 0.4


@pytest.mark.parametrize("never", [lambda: "3600", lambda: formatdate(time.time() + 9999, usegmt=True)])
def test_a_long_wait_is_told_instead(fake, never):
    fake.faults = [(429, {"retry-after": never()}, b"")]
    with pytest.raises(EndpointError, match="asks to come again in"):
        ask(fake)


@pytest.mark.parametrize("odd", ["soon", "-5", "", "Thu, 99 Nov 2026", "1e9"])
def test_an_odd_wait_is_none(fake, odd):
    fake.faults = [(503, {"retry-after": odd}, b"")]
    assert ask(fake)


def test_who_is_not_there_is_told_at_once():
    with pytest.raises(EndpointError, match=r"http://127\.0\.0\.1:9/v1/completions can't be reached: "):
        ask(Fake(), url="http://127.0.0.1:9/v1")


def test_an_endless_answer_is_refused(fake, monkeypatch):
    monkeypatch.setattr("divebell.evaluate.client._MOST_BYTES", 1000)
    fake.faults = [(200, {}, b" " * 2000)]
    with pytest.raises(EndpointError, match="more than the 1000 bytes allowed"):
        ask(fake)


def test_the_key_is_sent_and_never_told(fake):
    ask(fake)
    assert fake.asked[0][1]["authorization"] == f"Bearer {KEY}"
    fake.faults = [(401, {}, f'{{"error": {{"message": "wrong key {KEY}"}}}}'.encode())]
    with pytest.raises(EndpointError, match=r"wrong key \[key\]") as told:
        ask(fake)
    assert KEY not in str(told.value)

"""Requests that must be refused: with a status of 400 to 499 and a sentence."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from soak_asks import MODEL, opening

BODY_LIMIT = 256 << 10


@dataclass(frozen=True)
class Garbage:
    """headers: instead of the usual ones. statuses: those that are right; () for any from 400 to 499."""

    path: str
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)
    statuses: tuple[int, ...] = (400,)
    method: str = "POST"


def garbage(random: Random) -> Garbage:
    return random.choice(KINDS)(random)


def _valid(random: Random) -> tuple[str, dict[str, Any]]:
    if random.random() < 0.3:
        return "/v1/completions", {"model": MODEL, "prompt": "Once", "max_tokens": 4}
    messages = [each for each in opening(random) if each["role"] == "user"]
    path = random.choice(("/v1/chat/completions", "/v1/messages"))
    return path, {"model": MODEL, "messages": messages, "max_tokens": 4}


def _with(random: Random, fields: dict[str, Any], **more: Any) -> Garbage:
    path, body = _valid(random)
    return Garbage(path, json.dumps(body | fields).encode(), **more)


def broken_json(random: Random) -> Garbage:
    path, body = _valid(random)
    content = json.dumps(body).encode()
    cut = content[: random.randint(0, len(content) - 1)]
    return Garbage(path, random.choice((cut, content + b"}", b"\xff\xfe" + content, b"[" * 100_000, b"NaN")))


def no_object(random: Random) -> Garbage:
    return Garbage(_valid(random)[0], random.choice((b"[]", b'"x"', b"null", b"17", b"[[1], {}]")))


def wrong_type(random: Random) -> Garbage:
    name = random.choice(("model", "max_tokens", "temperature", "top_p", "stream"))
    wrong = ["many", [], {}, [None], {"a": {"b": [1]}}, -1.5]
    return _with(random, {name: random.choice(wrong[1:5] if name == "model" else wrong[:5])})


def wrong_messages(random: Random) -> Garbage:
    path = random.choice(("/v1/chat/completions", "/v1/messages"))
    wrong = random.choice(([], {}, "Hello", [{}], [{"role": "user"}], [{"role": "king", "content": "x"}], [[]], [None]))
    return Garbage(path, json.dumps({"model": MODEL, "max_tokens": 4, "messages": wrong}).encode())


def unknown_field(random: Random) -> Garbage:
    return _with(random, {random.choice(("temprature", "maxTokens", "", "große", "__class__")): 1})


def huge_number(random: Random) -> Garbage:
    fields = ({"max_tokens": -(10**30)}, {"temperature": 1e300}, {"top_p": 10**400})
    return _with(random, random.choice(fields))


def infinite_number(random: Random) -> Garbage:
    path, body = _valid(random)
    text = json.dumps(body)[:-1] + random.choice((', "temperature": NaN}', ', "temperature": Infinity}'))
    return Garbage(path, text.encode())


def half_a_surrogate(random: Random) -> Garbage:
    return Garbage("/v1/completions", b'{"model": "soak", "prompt": "\\ud800", "max_tokens": 4}')


def too_long(random: Random) -> Garbage:
    """More tokens than any context here has, in a body that may still be read."""
    return Garbage("/v1/completions", json.dumps({"model": MODEL, "prompt": "sea 7 " * 20_000}).encode())


def too_large(random: Random) -> Garbage:
    return Garbage(_valid(random)[0], b" " * (BODY_LIMIT + 1), statuses=(413,))


def bad_grammar(random: Random) -> Garbage:
    fields = ({"regex": "(("}, {"grammar": "start: nothing"}, {"json_schema": {"type": "no such type"}})
    body = {"model": MODEL, "prompt": "x", "max_tokens": 4} | random.choice(fields)
    return Garbage("/v1/completions", json.dumps(body).encode())


def wrong_key(random: Random) -> Garbage:
    key = random.choice(("", "Bearer", "Bearer wrong-key-1234", "Basic c29hazpzb2Fr", "Bearer " + "x" * 5000))
    return _with(random, {}, headers={"authorization": key}, statuses=(401,))


def wrong_host(random: Random) -> Garbage:
    host = random.choice(("evil.example", "localhost.evil.example", "", "127.0.0.1.nip.io:80"))
    return _with(random, {}, headers={"host": host}, statuses=(400, 403))


def wrong_origin(random: Random) -> Garbage:
    return _with(random, {}, headers={"origin": random.choice(("https://evil.example", "null"))}, statuses=(403,))


def wrong_model(random: Random) -> Garbage:
    return _with(random, {"model": random.choice(("gpt-9", "", "../soak", "s" * 2000))}, statuses=(404,))


def wrong_path(random: Random) -> Garbage:
    path = random.choice(("/v1/nothing", "/v1/chat/completions/..%2f", "/%00", "/v1/models/none", "//"))
    return Garbage(path, b"{}", statuses=(404, 405))


def wrong_method(random: Random) -> Garbage:
    return Garbage(_valid(random)[0], b"", statuses=(405,), method=random.choice(("GET", "DELETE", "PUT")))


KINDS: tuple[Callable[[Random], Garbage], ...] = (
    *(broken_json, no_object, wrong_type, wrong_messages, unknown_field, huge_number, infinite_number),
    *(half_a_surrogate, too_long, too_large, bad_grammar),
    *(wrong_key, wrong_host, wrong_origin, wrong_model, wrong_path, wrong_method),
)

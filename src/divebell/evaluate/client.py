"""Requests to a server that speaks OpenAI's protocol: repeated within bounds where that may help, else told."""

import asyncio
import json
import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from divebell.errors import EndpointError

TRIES = 6
LONGEST_WAIT = 120.0  # seconds that a server may ask to wait
_MOST_BYTES = 64 << 20
_AGAIN = (408, 425, 429)  # and all from 500 on
_SHOWN = 300
_Tried = tuple[dict[str, Any] | None, str, float]  # the answer, or why there is none, and the seconds to wait at least


class Client:
    """url: what the protocol's paths come after, such as http://127.0.0.1:8000/v1. key: never part of a message.

    seconds: that one answer may take. first_wait: seconds before the second try; each later wait is twice as long.
    """

    def __init__(self, url: str, key: str | None, seconds: float = 600.0, first_wait: float = 1.0):
        self.url, self._key, self._seconds, self._first_wait = url, key, seconds, first_wait
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.AsyncClient(headers=headers, timeout=httpx.Timeout(seconds, connect=min(seconds, 20.0)))
        self._reached = False

    async def ask(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON object that the server answers with: to a POST of `body`, or without one to a GET.

        Raises EndpointError: at once for what a repetition would not change, else after some tries.
        """
        problem = ""
        for tried in range(TRIES):
            answer, problem, wait = await self._try(path, body)
            if answer is not None:
                return answer
            if tried + 1 < TRIES:
                await asyncio.sleep(max(wait, self._first_wait * 2**tried * random.uniform(0.5, 1)))
        raise self.error(path, f"{problem}; {TRIES} tries")

    async def _try(self, path: str, body: Mapping[str, Any] | None) -> _Tried:
        try:
            response, raw = await asyncio.wait_for(self._send(path, body), self._seconds)
        except (httpx.TimeoutException, TimeoutError):
            return None, f"gave no answer within {self._seconds:g} s", 0.0
        except httpx.HTTPError as error:
            problem = f"can't be reached: {error or type(error).__name__}"
            if not self._reached and isinstance(error, httpx.ConnectError):
                raise self.error(path, problem) from None
            return None, problem, 0.0
        self._reached = True
        return self._read(path, response, raw)

    def error(self, path: str, problem: str, status: int | None = None) -> EndpointError:
        text = f"{self.url}/{path} {problem}"
        return EndpointError(text.replace(self._key, "[key]") if self._key else text, status)

    async def close(self) -> None:
        await self._http.aclose()

    async def _send(self, path: str, body: Mapping[str, Any] | None) -> tuple[httpx.Response, bytes]:
        method = "GET" if body is None else "POST"
        async with self._http.stream(method, f"{self.url}/{path}", json=body) as response:
            raw = bytearray()
            async for piece in response.aiter_bytes():
                raw += piece
                if len(raw) > _MOST_BYTES:
                    raise self.error(path, f"answered with more than the {_MOST_BYTES} bytes allowed")
            return response, bytes(raw)

    def _read(self, path: str, response: httpx.Response, raw: bytes) -> _Tried:
        status = response.status_code
        if status == 200:
            value = _json(raw)
            return (
                (value, "", 0.0)
                if isinstance(value, dict)
                else (None, f"answered with no JSON object: {_start(raw)}", 0.0)
            )
        problem = f"answered with status {status}: {_message(raw)}"
        if status in _AGAIN or status >= 500:
            return None, problem, self._asked_to_wait(path, response)
        raise self.error(path, problem, status)

    def _asked_to_wait(self, path: str, response: httpx.Response) -> float:
        seconds = _retry_after(response.headers.get("retry-after", ""))
        if seconds > LONGEST_WAIT:
            status = response.status_code
            raise self.error(path, f"answered with status {status} and asks to come again in {seconds:.0f} s")
        return seconds


def _retry_after(value: str) -> float:
    """Seconds, which the header gives as such or as a date; 0 for anything else."""
    try:
        return (
            max(float(value), 0.0)
            if value.strip().isdigit()
            else parsedate_to_datetime(value).timestamp() - time.time()
        )
    except (ValueError, TypeError):
        return 0.0


def _message(raw: bytes) -> str:
    """What an error's body says, in one of the usual forms, or how it begins."""
    value = _json(raw)
    told = value.get("error", value) if isinstance(value, dict) else None
    found = told.get("message", told.get("detail")) if isinstance(told, dict) else told
    return found[:_SHOWN] if isinstance(found, str) else _start(raw)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _start(raw: bytes) -> str:
    return repr(raw[:_SHOWN].decode("utf-8", "replace")) if raw else "nothing"

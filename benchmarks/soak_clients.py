"""Clients of a soak: each asks, checks what comes back, and goes away in the middle now and then."""

import asyncio
import json
import signal
import traceback
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from time import monotonic
from typing import Any

import httpx
from jsonschema import Draft202012Validator

from soak_answers import Cut, Told, lines
from soak_asks import PARAMETERS, Ask, Conversation, continuation, form, tool_call
from soak_garbage import Garbage, garbage
from soak_server import KEY, Server

GARBAGE, CANCELLED = 0.05, 0.10
MOST_FAILURES = 10
REMEMBERED = 2000  # asks that may be put again
PAUSE = 0.05


class Interrupted(Exception):
    """The server was stopped meanwhile, which is nobody's fault."""


class Wrong(Exception):
    """What must not be."""


class Soak:
    """What all clients share. answers: key of an ask -> what must come. over: no more requests are begun."""

    def __init__(self, server: Server, seed: int, context: int, limit: float):
        self.server, self.seed, self.context, self.limit = server, seed, context, limit
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.asked: deque[Ask] = deque(maxlen=REMEMBERED)
        self.seconds: list[float] = []
        self.over = asyncio.Event()
        self.http = httpx.AsyncClient(
            headers={"authorization": f"Bearer {KEY}"},
            timeout=None,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        )

    def fail(self, what: str, request: object = None) -> None:
        """Loudly; after many there is nothing more to learn."""
        text = what if request is None else f"{what}\nrequest: {request}"
        print(f"FAILED (seed {self.seed}): {text}", flush=True)
        self.failures.append(text)
        if len(self.failures) >= MOST_FAILURES:
            self.over.set()

    def check(self, ask: Ask, result: Mapping[str, Any]) -> None:
        """The answer is the one that was given before. Raises Wrong."""
        self.counts["compared"] += ask.key in self.answers
        known = self.answers.setdefault(ask.key, result)
        if any(known[name] != result[name] for name in known):
            raise Wrong(f"another answer than before: {json.dumps(result)}; before: {json.dumps(known)}")
        if "length" in result["finishes"]:
            return
        if ask.schema:
            problem = next(Draft202012Validator(ask.schema).iter_errors(json.loads(result["texts"][0])), None)
            if problem:
                raise Wrong(f"an answer breaks its schema: {problem.message}")
            self.counts["valid"] += 1
        if ask.tool:
            [[name, arguments]] = result["calls"]
            Draft202012Validator(PARAMETERS).validate(arguments)
            self.counts["calls"] += name == "weather"

    async def answer(self, ask: Ask, protocol: str, stream: bool, patience: int | None = None) -> Told | None:
        """patience: events of a stream after which the client goes away; then there is no answer.

        Raises Interrupted, Wrong, httpx.TransportError.
        """
        told, epoch, begin = Told(ask.count), self.server.epoch, monotonic()
        try:
            whole = await self.server.within(self.limit, self._stream(ask, protocol, stream, patience, told))
        except TimeoutError:
            raise Wrong(f"no end after {self.limit:g} s") from None
        except (httpx.TransportError, Cut) as problem:
            promised = stream and told.began and self.server.last_signal == signal.SIGTERM
            raise self._cut_off(problem, epoch, promised) from None
        if not whole:
            self._check_beginning(ask, told)
            return None
        self.seconds.append(monotonic() - begin)
        self.counts["prompt_tokens"] += told.prompt
        self.counts["cached_tokens"] += told.cached
        self.check(ask, told.result)
        return told

    async def _stream(self, ask: Ask, protocol: str, stream: bool, patience: int | None, told: Told) -> bool:
        path, body = ask.request(protocol, stream)
        async with self.http.stream("POST", f"{self.server.url}{path}", json=body) as response:
            told.began = response.status_code == 200
            return await self._read(response, told, stream, patience)

    async def _read(self, response: httpx.Response, told: Told, stream: bool, patience: int | None) -> bool:
        """False if the client has lost patience."""
        if response.status_code != 200:
            await self._refused(response)
        if not stream:
            told.take(json.loads(await response.aread()))
            return True
        async for line in lines(response.aiter_bytes()):
            told.take_line(line)
            if patience is not None and line.startswith("data: "):
                patience -= 1
                if patience < 0 and not told.complete:
                    return False
        if not told.complete:
            raise Cut("a stream without its last event")
        return True

    async def _refused(self, response: httpx.Response) -> None:
        text = (await response.aread()).decode(errors="replace")
        if response.status_code == 503 and not self.server.ready.is_set():
            raise Interrupted
        raise Wrong(f"status {response.status_code}: {text:.1000}")

    def _cut_off(self, problem: Exception, epoch: int, promised: bool = False) -> Exception:
        """promised: the answer had begun, and the server was told to let it end."""
        interrupted = self.server.epoch != epoch or not self.server.ready.is_set()
        return Interrupted() if interrupted and not promised else Wrong(f"cut off: {problem!r}")

    def _check_beginning(self, ask: Ask, told: Told) -> None:
        """What came before the client went is how the whole answer begins."""
        known = self.answers.get(ask.key)
        if known and not all(map(str.startswith, known["texts"], told.texts)):
            raise Wrong(f"another answer than before begins: {told.texts}; before: {known['texts']}")

    async def refused(self, bad: Garbage) -> None:
        """Raises Wrong where it is not."""
        epoch = self.server.epoch
        headers = {"content-type": "application/json"} | bad.headers
        request = self.http.build_request(bad.method, f"{self.server.url}{bad.path}", content=bad.content)
        request.headers.update(headers)
        try:
            response = await self.server.within(self.limit, self.http.send(request))
        except TimeoutError:
            raise Wrong(f"no end after {self.limit:g} s") from None
        except httpx.TransportError as problem:
            raise self._cut_off(problem, epoch) from None
        if response.status_code == 503 and not self.server.ready.is_set():
            raise Interrupted
        if response.status_code not in bad.statuses or not _sentence(response):
            raise Wrong(f"status {response.status_code} (not {bad.statuses}): {response.text:.1000}")


def _sentence(response: httpx.Response) -> bool:
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return False
    return isinstance(message, str) and " " in message.strip()


class Client:
    """One of many, with random numbers of its own."""

    def __init__(self, soak: Soak, number: int):
        self._soak, self._random = soak, Random(f"{soak.seed} {number}")
        self._conversation = Conversation(self._random, soak.context)

    async def run(self) -> None:
        soak = self._soak
        while not soak.over.is_set():
            if not soak.server.ready.is_set():
                await asyncio.sleep(PAUSE)
                continue
            soak.counts["requests"] += 1
            chance = self._random.random()
            if chance < GARBAGE:
                await self._guarded(self._garbage, garbage(self._random))
            elif chance < GARBAGE + CANCELLED:
                await self._guarded(self._cancel, self._any())
            else:
                await self._guarded(self._put, self._any())

    async def _guarded(self, send: Callable[[Any], Awaitable[None]], request: Any) -> None:
        """A failure is written down, and the client goes on."""
        try:
            await send(request)
        except Interrupted:
            self._soak.counts["interrupted"] += 1
        except Wrong as problem:
            self._soak.fail(str(problem), f"{request!r:.20000}")
        except Exception:
            self._soak.fail(traceback.format_exc(), f"{request!r:.20000}")

    def _any(self) -> Ask:
        chance = self._random.random()
        if chance < 0.5:
            return self._conversation.ask()
        if chance < 0.7 and self._soak.asked:
            return self._random.choice(self._soak.asked)
        return self._random.choice((continuation, continuation, form, tool_call))(self._random)

    def _way(self, ask: Ask) -> tuple[str, bool]:
        return self._random.choice(ask.protocols), self._random.random() < 0.6

    async def _garbage(self, bad: Garbage) -> None:
        await self._soak.refused(bad)
        self._soak.counts["garbage"] += 1

    async def _cancel(self, ask: Ask) -> None:
        """After some events of a stream, or some time of waiting."""
        protocol, stream = self._way(ask)
        if stream:
            await self._soak.answer(ask, protocol, True, patience=self._random.randint(0, 12))
        else:
            task = asyncio.create_task(self._soak.answer(ask, protocol, False))
            done, _ = await asyncio.wait({task}, timeout=self._random.uniform(0.01, 1))
            if done:
                task.result()
            task.cancel()
            await asyncio.wait({task})
        self._soak.counts["cancelled"] += 1

    async def _put(self, ask: Ask) -> None:
        told = await self._soak.answer(ask, *self._way(ask))
        self._soak.asked.append(ask)
        self._soak.counts["answered"] += 1
        if ask.messages is self._conversation.messages:
            self._conversation.answered(told.texts[0])

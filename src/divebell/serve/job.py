"""The answers that one HTTP request wants, as the event loop sees them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from divebell.engine.generation import Generation
from divebell.engine.sampler import TokenLogprob

SILENCE = 10.0  # seconds without news, after which a waiting client is given a sign of life


@dataclass(frozen=True, slots=True)
class Update:
    """What is new of an answer. finish_reason: None while it goes on."""

    text: str = ""
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: str | None = None
    error: Exception | None = None

    def __add__(self, later: "Update") -> "Update":
        text, logprobs = self.text + later.text, self.logprobs + later.logprobs
        return Update(text, logprobs, later.finish_reason, self.error or later.error)


class Job:
    """Made within the event loop; `put` is called by the worker, through the loop."""

    def __init__(self, generations: list[Generation]):
        self.generations = generations
        self.loop = asyncio.get_running_loop()
        self._news: dict[int, Update] = {}
        self._arrived = asyncio.Event()

    def put(self, index: int, update: Update) -> None:
        """What a slow client has not had yet is joined, so it never gets further behind."""
        self._news[index] = self._news[index] + update if index in self._news else update
        self._arrived.set()

    def refuse(self, refusal: Exception) -> None:
        """Ends `updates` with it."""
        self.put(0, Update(error=refusal))

    async def updates(self) -> AsyncIterator[tuple[int, Update] | None]:
        """(which answer, what is new of it) until all have ended; None after a silence. Raises an answer's error."""
        left = len(self.generations)
        while left:
            if not await self._any():
                yield None
            news, self._news = self._news, {}
            self._arrived.clear()
            for index, update in news.items():
                if update.error:
                    raise update.error
                left -= update.finish_reason is not None
                yield index, update

    async def _any(self) -> bool:
        """Whether there is news before the silence has become too long."""
        await asyncio.sleep(0)  # others have their turn, even when there always is news
        try:
            async with asyncio.timeout(SILENCE):
                await self._arrived.wait()
        except TimeoutError:
            return False
        return True

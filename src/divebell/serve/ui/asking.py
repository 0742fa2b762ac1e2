"""A question of the page on its way through the engine: like any request's, within the same limits, and counted."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from divebell.serve.access import AccessLog
from divebell.serve.answer import Answer
from divebell.serve.connection import GONE
from divebell.serve.errors import as_refusal
from divebell.serve.paths import PAGE
from divebell.serve.question import Question
from divebell.serve.record import Record
from divebell.serve.refusal import stopping
from divebell.serve.service import Service
from divebell.serve.ui.settings import Settings

_COSTS = ("joules", "uncertainty", "grams_co2", "all_in_dollars")


@dataclass(frozen=True, slots=True)
class Asker:
    """client: an address. key: the name of the key that was given, None without keys."""

    service: Service
    access: AccessLog
    client: str
    key: str | None

    async def answer(
        self, model: str, messages: Sequence[dict[str, str]], settings: Settings
    ) -> AsyncGenerator[Answer]:
        """The answer, each time that there is more of it. Closing the iterator ends it and frees its memory."""
        record = Record(self.client, "WEBSOCKET", PAGE, key=self.key, route=PAGE)
        with self.access.request(record):
            try:
                async with aclosing(self._answer(model, messages, settings, record)) as answers:
                    async for answer in answers:
                        yield answer
                record.status = 200
            except Exception as error:
                record.status = as_refusal(error).status_code
                raise
            finally:
                record.status = record.status or GONE

    async def _answer(
        self, model: str, messages: Sequence[dict[str, str]], settings: Settings, record: Record
    ) -> AsyncGenerator[Answer]:
        self._check(messages)
        served = self.service.model(model, record)
        question = Question(messages, options=settings.options(served.limits))
        (answer,) = await asyncio.to_thread(question.answers, served)
        async with served.run([answer.generation], record) as job:
            async for news in job.updates():
                if news:
                    answer.take(news[1])
                    yield answer

    def _check(self, messages: Sequence[dict[str, str]]) -> None:
        limits = self.service.limits
        if self.service.draining:
            raise stopping()
        if sum(len(message["content"].encode("utf-8", "replace")) for message in messages) > limits.body:
            raise limits.body_too_large()


def figures(answer: Answer) -> dict[str, float]:
    """What an answer took so far."""
    receipt = answer.generation.completion().receipt
    bill = receipt.bill or {}
    return {
        "prompt_tokens": receipt.prompt_tokens,
        "cached_tokens": receipt.cached_tokens,
        "completion_tokens": receipt.completion_tokens,
        "tokens_per_second": receipt.tokens_per_second,
        "seconds": receipt.seconds,
        **{name: bill[name] for name in _COSTS if bill},
    }


def told(figures: dict[str, float]) -> str:
    """In one line."""
    prompt, cached = figures["prompt_tokens"], figures["cached_tokens"]
    rate = f" at {figures['tokens_per_second']:.1f}/s" if figures["tokens_per_second"] else ""
    share = round(100 * cached / prompt) if prompt else 0
    return (
        f"{figures['completion_tokens']:,} tokens{rate} · prompt {prompt:,} tokens, {share} % cached · "
        f"{figures['seconds']:.2f} s{_cost(figures)}"
    )


def _cost(figures: dict[str, float]) -> str:
    """Nothing where it was not counted."""
    if not figures.keys() >= set(_COSTS):
        return ""
    joules, spread, grams, dollars = (figures[name] for name in _COSTS)
    return f" · {joules:.3g} J ± {100 * spread:.0f} %, {grams:.2g} g CO₂, ${dollars:.2g}"

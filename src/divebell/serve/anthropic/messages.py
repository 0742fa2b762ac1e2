"""/v1/messages and /v1/messages/count_tokens."""

import asyncio
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request
from starlette.responses import Response

from divebell.serve.admin import service_of
from divebell.serve.answer import Answer
from divebell.serve.anthropic.answer import Frames, frame, message
from divebell.serve.anthropic.form import CountForm, MessageForm
from divebell.serve.connection import BEGUN, EventStream, while_connected
from divebell.serve.errors import as_refusal
from divebell.serve.form import StrictRoute
from divebell.serve.frames import answered
from divebell.serve.record import Record, record_of
from divebell.serve.refusal import anthropic_error
from divebell.serve.served import Offer

router = APIRouter(route_class=StrictRoute)
PING = frame("ping", {})
PATIENCE = 6  # silences in a row that pings fill; Claude Code counts none, and gives up after 300 s without an event


@router.post("/v1/messages")
async def messages(form: MessageForm, request: Request) -> Response:
    """Answers a conversation."""
    record = record_of(request.scope)
    served = service_of(request).model(form.model, record)
    [answer] = await asyncio.to_thread(lambda: form.question(form.options(served.limits)).answers(served))
    if form.stream:
        return EventStream(frames(served, form, answer, record), lambda error: failed(error, record))
    return answered(await while_connected(request.receive, whole(served, form, answer, record)))


@router.post("/v1/messages/count_tokens")
async def count_tokens(form: CountForm, request: Request) -> dict[str, int]:
    """How many tokens a prompt has."""
    served = service_of(request).model(form.model, record_of(request.scope))
    prompt = await asyncio.to_thread(lambda: form.question({}).prompt(served))
    return {"input_tokens": len(prompt.ids)}


async def whole(served: Offer, form: MessageForm, answer: Answer, record: Record) -> dict[str, object]:
    async with served.run([answer.generation], record) as job:
        async for news in job.updates():
            if news:
                answer.take(news[1])
    return message(answer, form.model, form.hides_thinking)


async def frames(served: Offer, form: MessageForm, answer: Answer, record: Record) -> AsyncGenerator[str]:
    """message_start waits for the first token, as only then it is known how much of the prompt was cached, or until a
    client might take the stream for dead."""
    told, silences = Frames(answer, form.model, form.hides_thinking), 0
    async with served.run([answer.generation], record) as job:
        yield BEGUN
        async for news in job.updates():
            silences = 0 if news else silences + 1
            for piece in told.begin() if news else told.waiting() if silences > PATIENCE else [PING]:
                yield piece
            if news is None:
                continue
            for event in answer.take(news[1]):
                for piece in told.of(event):
                    yield piece
    for piece in told.end():
        yield piece


def failed(error: Exception, record: Record) -> str:
    return frame("error", anthropic_error(as_refusal(error), record.id))

"""/v1/chat/completions."""

import asyncio
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request
from starlette.responses import Response

from divebell.serve.admin import service_of
from divebell.serve.answer import Answer
from divebell.serve.connection import EventStream, while_connected
from divebell.serve.form import StrictRoute
from divebell.serve.frames import DONE, WAITING, answered, failed, frame, head, timings, usage
from divebell.serve.job import Update
from divebell.serve.openai.chat_form import ChatForm
from divebell.serve.openai.logprobs import content_logprobs
from divebell.serve.receipt import receipt_of
from divebell.serve.record import Record, record_of
from divebell.serve.served import Offer
from divebell.text.events import CallArguments, CallStart, Content, Event, Reasoning

router = APIRouter(route_class=StrictRoute)


@router.post("/v1/chat/completions")
async def chat_completions(form: ChatForm, request: Request) -> Response:
    """Answers a conversation."""
    record = record_of(request.scope)
    served = service_of(request).model(form.model, record)
    answers = await asyncio.to_thread(form.question(served.limits).answers, served)
    if form.stream:
        return EventStream(chunks(served, form, answers, record), failed)
    return answered(await while_connected(request.receive, whole(served, form, answers, record)))


async def whole(served: Offer, form: ChatForm, answers: list[Answer], record: Record) -> dict[str, object]:
    generations = [answer.generation for answer in answers]
    async with served.run(generations, record, len(answers)) as job:
        async for news in job.updates():
            if news:
                answers[news[0]].take(news[1])
    choices = [_choice(served, form, index, answer) for index, answer in enumerate(answers)]
    return head("chatcmpl", "chat.completion", form.model) | {
        "choices": choices,
        "usage": counted(served, answers),
        "receipt": receipt_of(generations),
        **timings(generations),
    }


def counted(served: Offer, answers: list[Answer]) -> dict[str, object]:
    """The usage of all answers; where there was reasoning, how much of it."""
    generations, tokenizer = [answer.generation for answer in answers], served.llm.tokenizer
    reasoning = sum(answer.reasoning_tokens(tokenizer) for answer in answers)
    details = {"completion_tokens_details": {"reasoning_tokens": reasoning}} if reasoning else {}
    return usage(generations[:1], generations) | details


def _choice(served: Offer, form: ChatForm, index: int, answer: Answer) -> dict[str, object]:
    parts = answer.parts
    message = {"role": "assistant", "content": parts.text or (None if parts.tool_calls else ""), "refusal": None}
    if parts.reasoning:
        message["reasoning_content"] = parts.reasoning
    if parts.tool_calls:
        message["tool_calls"] = [_call(call.id, call.name, call.arguments) for call in parts.tool_calls]
    logprobs = content_logprobs(answer.logprobs, served.llm.tokenizer) if form.logprobs else None
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": answer.finish_reason}


async def chunks(served: Offer, form: ChatForm, answers: list[Answer], record: Record) -> AsyncGenerator[str]:
    stream = Chunks(served, form)
    generations = [answer.generation for answer in answers]
    async with served.run(generations, record, len(answers)) as job:
        for index in range(len(answers)):
            yield stream.delta(index, {"role": "assistant", "content": ""})
        async for news in job.updates():
            if news is None:
                yield WAITING
                continue
            index, update = news
            for piece in stream.pieces(index, answers[index], update):
                yield piece
    if form.wants_usage:
        yield stream.usage(answers)
    yield DONE


class Chunks:
    """Writes chunks of one stream."""

    def __init__(self, served: Offer, form: ChatForm):
        self._served, self._form = served, form
        self._head = head("chatcmpl", "chat.completion.chunk", form.model)
        self._extra = {"usage": None} if form.wants_usage else {}

    def pieces(self, index: int, answer: Answer, update: Update) -> list[str]:
        """Chunks of what is new. Log-probabilities go with the first, or with one of their own."""
        events = answer.take(update)
        logprobs = None
        if update.logprobs:
            logprobs = content_logprobs(update.logprobs, self._served.llm.tokenizer)
        deltas = [delta for event in events if (delta := _delta(event))]
        if logprobs and not deltas:
            deltas = [{}]
        chunks = [self.delta(index, delta, logprobs if not n else None) for n, delta in enumerate(deltas)]
        if update.finish_reason:
            chunks.append(self.delta(index, {}, finish_reason=answer.finish_reason))
        return chunks

    def delta(
        self, index: int, delta: dict[str, object], logprobs: object = None, finish_reason: str | None = None
    ) -> str:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return frame(self._head | {"choices": [choice]} | self._extra)

    def usage(self, answers: list[Answer]) -> str:
        generations = [answer.generation for answer in answers]
        told = {"usage": counted(self._served, answers), "receipt": receipt_of(generations)}
        return frame(self._head | {"choices": []} | told | timings(generations))


def _delta(event: Event) -> dict[str, object] | None:
    match event:
        case Reasoning(text):
            return {"reasoning_content": text} if text else None
        case Content(text):
            return {"content": text}
        case CallStart(index, name, id):
            return {"tool_calls": [{"index": index} | _call(id, name, "")]}
        case CallArguments(index, text):
            return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}


def _call(id: str | None, name: str, arguments: str) -> dict[str, object]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}

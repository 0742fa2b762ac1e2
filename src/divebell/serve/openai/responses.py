"""/v1/responses. Nothing is stored: a conversation goes on with all its items in `input`."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request
from starlette.responses import Response

from divebell.serve.admin import service_of
from divebell.serve.answer import Answer
from divebell.serve.connection import BEGUN, EventStream, while_connected
from divebell.serve.errors import as_refusal
from divebell.serve.form import StrictRoute
from divebell.serve.frames import answered, dumps
from divebell.serve.openai.responses_form import ResponseForm
from divebell.serve.openai.responses_output import Output
from divebell.serve.receipt import receipt_of
from divebell.serve.record import Record, record_of
from divebell.serve.refusal import openai_error
from divebell.serve.served import Offer

router = APIRouter(route_class=StrictRoute)
ECHOED = ("instructions", "max_output_tokens", "metadata", "model", "temperature", "top_p", "user")


@router.post("/v1/responses")
async def responses(form: ResponseForm, request: Request) -> Response:
    """Answers a conversation."""
    record = record_of(request.scope)
    served = service_of(request).model(form.model, record)
    [answer] = await asyncio.to_thread(form.question(served.limits).answers, served)
    told = Telling(form, served, answer)
    if form.stream:
        return EventStream(frames(served, told, record), told.failed)
    return answered(await while_connected(request.receive, whole(served, told, record)))


class Telling:
    """The response object of one answer, and the events of its stream."""

    def __init__(self, form: ResponseForm, served: Offer, answer: Answer):
        self.answer, self.output = answer, Output(form.called.calls)
        self._form, self._served = form, served
        self._error: dict[str, str] | None = None
        self._id, self._created, self._number = f"resp_{uuid4().hex}", int(time.time()), 0

    def take(self, update) -> list[str]:
        cut = update.finish_reason == "length"
        return [self.frame(told) for event in self.answer.take(update) for told in self.output.of(event, cut)]

    def begin(self) -> list[str]:
        return [self._state("created", "in_progress"), self.waiting()]

    def waiting(self) -> str:
        """An event, as Codex takes a stream for dead after five minutes of comments, and asks again."""
        return self._state("in_progress", "in_progress")

    def end(self) -> list[str]:
        """Closes what is open; the last event holds the whole response."""
        status = "incomplete" if self.answer.finish_reason == "length" else "completed"
        closed = [self.frame(told) for told in self.output.close(status)]
        return [*closed, self._state(status, status)]

    def failed(self, error: Exception) -> str:
        """Two events: some clients look for the one, Codex for the other."""
        problem = openai_error(as_refusal(error))["error"]
        event = {"type": "error"} | {name: problem[name] for name in ("code", "message", "param")}
        told = [self.frame(each) for each in (*self.output.close("incomplete"), event)]
        self._error = {"code": "server_error", "message": problem["message"]}
        return "".join([*told, self._state("failed", "failed")])

    def response(self, status: str) -> dict[str, Any]:
        """The whole object, as it stands."""
        form = self._form
        ended = status in ("completed", "incomplete")
        return {name: getattr(form, name) for name in ECHOED} | {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": self._error,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "output": self.output.items,
            "parallel_tool_calls": form.parallel_tool_calls is not False,
            "tool_choice": form.model_dump(include={"tool_choice"})["tool_choice"] or "auto",
            "tools": [tool.model_dump() for tool in form.tools or ()],
            "text": _text(form),
            "reasoning": {"effort": form.reasoning and form.reasoning.effort, "summary": None},
            "store": False,
            "background": False,
            "truncation": "disabled",
            "previous_response_id": None,
            "usage": self._usage() if ended else None,
            "receipt": receipt_of([self.answer.generation]) if ended else None,
        }

    def frame(self, told: dict[str, Any]) -> str:
        numbered = told | {"sequence_number": self._number}
        self._number += 1
        return f"event: {told['type']}\ndata: {dumps(numbered)}\n\n"

    def _state(self, kind: str, status: str) -> str:
        return self.frame({"type": f"response.{kind}", "response": self.response(status)})

    def _usage(self) -> dict[str, Any]:
        generation = self.answer.generation
        output, tokenizer = len(generation.ids) - generation.given, self._served.llm.tokenizer
        return {
            "input_tokens": generation.given,
            "input_tokens_details": {"cached_tokens": generation.reused or 0, "cache_write_tokens": 0},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": self.answer.reasoning_tokens(tokenizer)},
            "total_tokens": generation.given + output,
        }


def _text(form: ResponseForm) -> dict[str, Any]:
    format = form.text.format.model_dump(by_alias=True) if form.text and form.text.format else {"type": "text"}
    return {"format": format}


async def whole(served: Offer, told: Telling, record: Record) -> dict[str, Any]:
    async with served.run([told.answer.generation], record) as job:
        async for news in job.updates():
            if news:
                told.take(news[1])
    status = "incomplete" if told.answer.finish_reason == "length" else "completed"
    told.output.close(status)
    return told.response(status)


async def frames(served: Offer, told: Telling, record: Record) -> AsyncGenerator[str]:
    async with served.run([told.answer.generation], record) as job:
        yield BEGUN
        for frame in told.begin():
            yield frame
        async for news in job.updates():
            for frame in told.take(news[1]) if news else [told.waiting()]:
                yield frame
    for frame in told.end():
        yield frame

"""/v1/completions."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from fastapi import APIRouter, Request
from starlette.responses import Response

from divebell.engine.generation import PRIMING, Generation
from divebell.serve.admin import service_of
from divebell.serve.connection import BEGUN, EventStream, while_connected
from divebell.serve.errors import in_words_of
from divebell.serve.form import StrictRoute
from divebell.serve.frames import DONE, WAITING, answered, failed, frame, head, timings, usage
from divebell.serve.job import Update
from divebell.serve.openai.completions_form import CompletionForm
from divebell.serve.openai.logprobs import LegacyLogprobs
from divebell.serve.receipt import receipt_of
from divebell.serve.record import Record, record_of
from divebell.serve.refusal import Refusal
from divebell.serve.served import Offer, seeded
from divebell.text.infill import infill_ends, infill_prompt
from divebell.text.tokenizer import Tokenizer

router = APIRouter(route_class=StrictRoute)


@router.post("/v1/completions")
async def completions(form: CompletionForm, request: Request) -> Response:
    """Continues texts, or token ids, as they are and without a chat format."""
    record = record_of(request.scope)
    served = service_of(request).model(form.model, record)
    continued = await asyncio.to_thread(prepare, served, form)
    if form.stream:
        return EventStream(chunks(served, form, continued, record), failed)
    return answered(await while_connected(request.receive, whole(served, form, continued, record)))


class Continuation:
    """One text that goes on. text: of the answer, after the prompt where it is echoed."""

    def __init__(self, served: Offer, form: CompletionForm, generation: Generation, prompt: str):
        self.generation = generation
        self.text = prompt if form.echo else ""
        self.finish_reason: str | None = None
        self._logprobs = None if form.logprobs is None else self._counted(served.llm.tokenizer, prompt)
        self._echo = self.text
        self._scores = form.echo

    def _counted(self, tokenizer: Tokenizer, prompt: str) -> LegacyLogprobs:
        """Where the tokenizer puts a mark in front of a prompt, the text does not have it."""
        ids = self.generation.ids
        mark = not tokenizer.visible_bytes(ids[0]) and not prompt.startswith(tokenizer.token_text(ids[0]))
        return LegacyLogprobs(tokenizer, () if self.text else ids[-PRIMING:], hides_first=mark)

    def take(self, update: Update) -> dict[str, object]:
        """What an update says, as a choice says it."""
        text, self._echo = self._echo + update.text, ""
        self.text += update.text
        self.finish_reason = update.finish_reason or self.finish_reason
        return {"text": text, "logprobs": self._told(update), "finish_reason": update.finish_reason}

    def _told(self, update: Update) -> dict[str, list] | None:
        """Of the prompt too, with the first that is told, where it is echoed."""
        if self._logprobs is None:
            return None
        of_prompt = self.generation.completion().prompt_logprobs if self._scores else ()
        self._scores = False
        return self._logprobs.of([*of_prompt, *update.logprobs], self.generation.ids[0])


def prepare(served: Offer, form: CompletionForm) -> list[Continuation]:
    """The continuations that are wanted, those of one prompt after another, not begun. Refuses what can't be done."""
    options, tokenizer = served.options(form.options(served.limits)), served.llm.tokenizer
    if form.suffix:
        options["stop_ids"] = (*options.get("stop_ids", ()), *infill_ends(tokenizer.token_id))
    continued = []
    for prompt in form.prompts():
        ids = served.llm.encode(read(form, prompt, tokenizer)) if isinstance(prompt, str) else prompt
        served.limits.check_prompt(len(ids))
        _check_ids(ids, served.llm.vocabulary)
        text = prompt if isinstance(prompt, str) else tokenizer.decode(prompt, skip_special_tokens=False)
        with in_words_of(form.names):
            made = [served.llm.continuation(ids, **each) for each in seeded(options, form.n or 1)]
        continued += [Continuation(served, form, generation, text) for generation in made]
    return continued


def _check_ids(ids: Sequence[int], vocabulary: int) -> None:
    if not ids:
        raise Refusal(400, "prompt: the prompt is empty; give at least one token", param="prompt")
    if max(ids) >= vocabulary:
        message = f"prompt: token id {max(ids)} is not in the vocabulary, which is 0 to {vocabulary - 1}"
        raise Refusal(400, message, param="prompt")


def read(form: CompletionForm, prompt: str, tokenizer: Tokenizer) -> str:
    """What the model reads of a prompt that is text."""
    return infill_prompt(prompt, form.suffix, tokenizer.token_id) if form.suffix else prompt


async def whole(
    served: Offer, form: CompletionForm, continued: list[Continuation], record: Record
) -> dict[str, object]:
    generations = [each.generation for each in continued]
    choices = [{"index": i, "text": "", "logprobs": None, "finish_reason": None} for i in range(len(continued))]
    async with served.run(generations, record, form.n or 1) as job:
        async for news in job.updates():
            if news:
                _add(choices[news[0]], continued[news[0]].take(news[1]))
    body = head("cmpl", "text_completion", form.model)
    return body | {"choices": choices} | _costs(form, generations)


def _costs(form: CompletionForm, generations: list[Generation]) -> dict[str, object]:
    told = {"usage": usage(generations[:: form.n or 1], generations), "receipt": receipt_of(generations)}
    return told | timings(generations)


def _add(choice: dict[str, object], piece: dict[str, object]) -> None:
    choice["text"] += piece["text"]
    choice["finish_reason"] = piece["finish_reason"]
    if piece["logprobs"] is not None:
        earlier = choice["logprobs"] or {}
        choice["logprobs"] = {name: earlier.get(name, []) + more for name, more in piece["logprobs"].items()}


async def chunks(
    served: Offer, form: CompletionForm, continued: list[Continuation], record: Record
) -> AsyncGenerator[str]:
    generations = [each.generation for each in continued]
    top = head("cmpl", "text_completion", form.model)
    extra = {"usage": None} if form.wants_usage else {}
    async with served.run(generations, record, form.n or 1) as job:
        yield BEGUN
        async for news in job.updates():
            if news is None:
                yield WAITING
            else:
                choice = {"index": news[0]} | continued[news[0]].take(news[1])
                yield frame(top | {"choices": [choice]} | extra)
    if form.wants_usage:
        yield frame(top | {"choices": []} | _costs(form, generations))
    yield DONE

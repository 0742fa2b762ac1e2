"""A model behind a server that speaks OpenAI's protocol, here or elsewhere: the other one that answers questions."""

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.utils import normalize_gen_kwargs

from divebell.costs.prices import Price
from divebell.errors import BadInput, EndpointError
from divebell.evaluate.client import Client
from divebell.evaluate.cost import Cost
from divebell.evaluate.echo import likelihood
from divebell.evaluate.model import ANSWER_TOKENS, Answered
from divebell.evaluate.question import Question

AT_ONCE = 8
_MOST = 1e15  # tokens, joules or dollars: what servers say is summed and written as JSON, which has no infinity
_THIS_ONE = (400, 413, 422)  # statuses that may be about one question: its length, a filter of what it is about
_MOST_STOPS = 4  # OpenAI's limit; an answer is cut at the others here
# Fields that newer models of OpenAI's refuse: their other name, or None for those that can be left out.
_OTHERWISE = {"max_tokens": "max_completion_tokens", "stop": None, "top_p": None}


class Endpoint:
    """Answers questions by requests, some at once, in the order in which they come back.

    chat: generated answers come from /chat/completions, else /completions goes on with texts as they are.
    price: of tokens there; None where it is not known.
    """

    def __init__(self, client: Client, model: str, chat: bool = False, price: Price | None = None):
        self._client, self._model, self._chat, self._price = client, model, chat, price
        self.name, self.most = f"{model} at {client.url}", AT_ONCE
        self.identity = {"endpoint": client.url, "model": model}
        self.chat_template = _as_json if chat else None
        self._runner = asyncio.Runner()
        self._open: set[asyncio.Task] = set()
        self._refused: set[str] = set()  # fields of a chat that this model's server said it does not take
        self._counted = 0.0  # until when seconds are shared out

    def begin(self, question: Question) -> None:
        if not self._open:
            self._counted = time.perf_counter()
        self._open.add(self._runner.get_loop().create_task(self._answer(question)))

    def finished(self, until: float = inf) -> Iterator[Answered]:
        """The seconds since the last answers are those of the ones that come together now. Where one fails, those that
        are under way, and may be paid for, are waited for."""
        done = self._runner.run(_done(self._open, until)) if self._open else set()
        if not done:
            return
        self._open -= done
        now = time.perf_counter()
        seconds, self._counted = (now - self._counted) / len(done), now
        for task in done:
            if not task.exception():
                task.result().cost.seconds = seconds
                yield task.result()
        for task in done:
            task.result()  # raises what went wrong

    def close(self) -> None:
        for task in self._open:
            task.cancel()
        if self._open:
            self._runner.run(_all(self._open))
        self._open = set()
        self._runner.run(self._client.close())
        self._runner.close()

    async def _answer(self, question: Question) -> Answered:
        try:
            return await self._answered(question)
        except EndpointError as problem:
            if problem.status not in _THIS_ONE:
                raise
            return Answered(question, [], refused=problem)

    async def _answered(self, question: Question) -> Answered:
        kind = question.instances[0].request_type
        if kind == "generate_until":
            [instance] = question.instances
            text, cost = await self._generated(instance)
            return Answered(question, [text], cost)
        if kind == "loglikelihood" and not self._chat:
            return Answered(question, *await self._likelihoods(question.instances))
        raise BadInput(f"{question.key[0]} needs log-probabilities of texts, which {_why_not(kind)}")

    async def _generated(self, instance: Instance) -> tuple[str, Cost]:
        context, wanted = instance.args[:2]
        wanted = normalize_gen_kwargs(wanted, ANSWER_TOKENS)
        stops = [stop for stop in wanted["until"] if stop]
        body = {
            "model": self._model,
            "max_tokens": wanted["max_gen_toks"],
            "temperature": wanted.get("temperature", 0.0),
        }
        body |= {name: wanted[name] for name in ("top_p", "top_k", "seed") if name in wanted}
        if self._chat:
            return await self._said(body, json.loads(context), stops)
        answer = await self._asked("completions", body | {"prompt": context} | _stop(stops))
        return cut(self._of(answer, "completions", "text", str), stops), self._cost(answer)

    async def _said(self, body: dict[str, Any], messages: list[dict[str, str]], stops: list[str]) -> tuple[str, Cost]:
        """The protocol has no way to begin an answer: where a benchmark does, the model begins anew, and says more than
        the benchmark's stops, which are for what was begun, would leave."""
        if messages[-1]["role"] == "assistant":
            messages, stops = messages[:-1], []
        answer = await self._chatted(body | {"messages": messages} | _stop(stops))
        content = self._of(answer, "chat/completions", "message", dict).get("content")  # null if nothing was said
        return cut(content if isinstance(content, str) else "", stops), self._cost(answer)

    async def _chatted(self, body: dict[str, Any]) -> dict[str, Any]:
        """Newer models of OpenAI's refuse fields that others ask for, one after the other; that is remembered."""
        while True:
            sent = _accepted(body, self._refused)
            try:
                return await self._client.ask("chat/completions", sent)
            except EndpointError as problem:
                refused = _refused(problem, sent)
                if refused is None:
                    raise
                self._refused.add(refused)

    async def _likelihoods(self, instances: Sequence[Instance]) -> tuple[list[tuple[float, bool]], Cost]:
        pairs = [instance.args for instance in instances]
        body = {"model": self._model, "prompt": [context + more for context, more in pairs]}
        answer = await self._asked(
            "completions", body | {"max_tokens": 0, "echo": True, "logprobs": 1, "temperature": 0.0}
        )
        choices = self._choices(answer, "completions", len(pairs))
        try:
            found = [likelihood(*pair, choice) for pair, choice in zip(pairs, choices, strict=True)]
        except ValueError as problem:
            raise self._client.error("completions", f"{problem}; tasks whose answers are generated need none") from None
        return found, self._cost(answer)

    async def _asked(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Most servers of others have no completions of texts."""
        try:
            return await self._client.ask(path, body)
        except EndpointError as problem:
            if problem.status not in (404, 405):
                raise
            raise EndpointError(f"{problem}; --chat asks through chat/completions instead", problem.status) from None

    def _of(self, answer: Mapping[str, Any], path: str, field: str, kind: type) -> Any:
        [choice] = self._choices(answer, path, 1)
        if not isinstance(choice.get(field), kind):
            wanted = "text" if kind is str else "object"
            raise self._client.error(path, f"answered with a choice whose {field!r} is missing or no {wanted}")
        return choice[field]

    def _choices(self, answer: Mapping[str, Any], path: str, count: int) -> list[dict[str, Any]]:
        """In the order in which they were asked for."""
        found = answer.get("choices")
        if not isinstance(found, list) or len(found) != count or not all(isinstance(one, dict) for one in found):
            raise self._client.error(path, f"answered without the {count} choices that were asked for")
        return sorted(found, key=lambda one: one["index"] if isinstance(one.get("index"), int) else 0)

    def _cost(self, answer: Mapping[str, Any]) -> Cost:
        """By the server's count of tokens; where it is divebell's own, also by its receipt."""
        usage, receipt = (_object(answer.get(name)) for name in ("usage", "receipt"))
        prompt, written = (_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens"))
        cached = _count(_object(usage.get("prompt_tokens_details")).get("cached_tokens")) or 0
        joules, grams, dollars = (_amount(receipt.get(name)) for name in ("joules", "grams_co2", "all_in_dollars"))
        if self._price:
            known = None not in (prompt, written)
            dollars = self._price.cost(prompt, min(cached, prompt), written) if known else None
        return Cost(0.0, prompt, cached, written, joules, grams, dollars)


async def only_model(client: Client) -> str:
    """The name of the only model that the server has. Closes the client.

    Raises BadInput where it has several.
    """
    try:
        listed = (await client.ask("models")).get("data")
    finally:
        await client.close()
    names = [one["id"] for one in listed if isinstance(one, dict) and "id" in one] if isinstance(listed, list) else []
    if len(names) != 1:
        known = ", ".join(map(str, names[:20])) or "none that it tells"
        raise BadInput(f"which model of {client.url}? Give NAME={client.url}; it has {known}")
    return names[0]


def cut(text: str, stops: Sequence[str]) -> str:
    """What stands before the first of the stops."""
    return text[: min((place for stop in stops if (place := text.find(stop)) >= 0), default=None)]


def _as_json(messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
    """A chat as the text that lm-eval wants."""
    return json.dumps(messages, ensure_ascii=False)


def _stop(stops: list[str]) -> dict[str, list[str]]:
    return {"stop": stops[:_MOST_STOPS]} if stops else {}


def _accepted(body: Mapping[str, Any], refused: set[str]) -> dict[str, Any]:
    names = {name: _OTHERWISE[name] if name in refused else name for name in body}
    return {new: body[name] for name, new in names.items() if new}


def _refused(problem: EndpointError, sent: Mapping[str, Any]) -> str | None:
    """The field that an answer says is not supported, where that can be helped."""
    told = str(problem)
    if problem.status != 400 or "not supported" not in told:
        return None
    return next((name for name in _OTHERWISE if name in sent and f"'{name}'" in told), None)


def _why_not(kind: str) -> str:
    if kind == "loglikelihood_rolling":
        return "are not asked of servers for texts without a question; load the model itself"
    return "no server gives for a chat; leave --chat out, or choose a task whose answers are generated"


async def _done(tasks: set[asyncio.Task], until: float) -> set[asyncio.Task]:
    """At least one; all, where one of them failed. At `until` those that are done by then."""
    done, others = await asyncio.wait(tasks, timeout=_left(until), return_when=asyncio.FIRST_COMPLETED)
    if others and any(task.exception() for task in done):
        done |= (await asyncio.wait(others, timeout=_left(until)))[0]
    return done


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0.0)


async def _all(tasks: set[asyncio.Task]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < _MOST else None


def _amount(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value < _MOST else None

"""What a server is measured by: requests at once, prompts that come again, a long prompt beside an answer, turns."""

import asyncio
import os
import signal
from collections.abc import Sequence
from random import Random
from statistics import mean, median, quantiles
from time import monotonic
from typing import Any, NamedTuple

from divebell.engine.radix import common_prefix
from divebell.serve.openai.logprobs import shown
from divebell.text.tokenizer import Tokenizer
from serving_client import Answer, Client
from soak_asks import continuation, question
from soak_server import Server

AT_ONCE = (1, 2, 4, 8, 16)
FEW = 4  # tokens of a prompt whose answer is measured
SHORT = 16  # tokens of a prompt that is not measured, and of a last line that is changed
CHANGES = 3
SETTLED, ALONE = 16, 64  # tokens of an answer before it is timed, and timed without company
BRANCH = 0.3
SYSTEM = "You use tools."


class Measures:
    """Of one model. What comes first warms up for what follows."""

    def __init__(self, server: Server, client: Client, tokenizer: Tokenizer, seed: int):
        self._server, self._client, self._tokenizer = server, client, tokenizer
        self._random, self._begins = Random(seed), tokenizer.encode(SYSTEM)[0]

    async def start(self) -> None:
        await self._server.start()
        self._client.url = self._server.url
        await self._client.ask(self._ids(SHORT), SETTLED)

    async def throughput(self, tokens: int, rounds: int) -> dict[str, Any]:
        """Tokens a second of all together, and a processor's second; and how many times as many as one alone gets in
        the same round. The second kind depends less on what else the machine does."""
        speeds: dict[int, list[tuple[float, float]]] = {count: [] for count in AT_ONCE}
        load = os.getloadavg()[0]
        for _ in range(rounds):
            for count in AT_ONCE:
                speeds[count].append(await self._together(count, tokens))
        told = {"tokens": tokens, "load": load, "runs": speeds, "tokens_per_s": _medians(speeds, 0)}
        return told | {"ratio": _ratios(speeds, 0), "ratio_of_processor_time": _ratios(speeds, 1)}

    async def _together(self, count: int, tokens: int) -> tuple[float, float]:
        begin, before = monotonic(), self._server.cpu_seconds()
        answers = await asyncio.gather(*(self._client.ask(self._ids(FEW), tokens) for _ in range(count)))
        seconds, busy = max(answer.end for answer in answers) - begin, self._server.cpu_seconds() - before
        return count * tokens / seconds, count * tokens / busy

    async def first_token(self, tokens: int) -> dict[str, Any]:
        """Seconds to the first token of a prompt; of the same with another last line; and after a restart."""
        tokens = min(tokens, await self._client.context() - SHORT)
        prompt, load = self._ids(tokens), os.getloadavg()[0]
        first = (await self._client.ask(prompt, 1)).first
        again = [await self._changed(prompt) for _ in range(CHANGES)]
        await self._server.interrupt(signal.SIGTERM)
        await self.start()
        restored = await self._changed(prompt)
        figures = {"again": median(again), "runs": again, "restored": restored, "most": 0.02 * first + 0.1}
        return {"tokens": tokens, "load": load, "first": first} | figures

    async def _changed(self, prompt: Sequence[int]) -> float:
        return (await self._client.ask([*prompt[:-SHORT], *self._ids(SHORT)], 1)).first

    async def beside(self, tokens: int, seconds: float, cached: int) -> dict[str, Any]:
        """Seconds of a token of an answer, before, while and after a long prompt is read for some time; and how many
        times as many while as without it, by the clock and by the server's processor time, which says more where
        other programs come and go. cached: tokens of the prompt that are read before, by themselves."""
        context = await self._client.context()
        prompt = self._ids(min(tokens, context - SHORT))
        if cached:
            await self._client.ask(prompt[:cached], 1)
        answer, load = Answer(), os.getloadavg()[0]
        writing = asyncio.create_task(self._client.ask(self._ids(SHORT), context - 2 * SHORT, answer))
        await self._written(answer, SETTLED, writing)
        before = await self._alone(answer, writing)
        computed, begin = await self._computed(), self._moment(answer)
        reading = asyncio.create_task(self._client.ask(prompt, 1))
        done, _ = await asyncio.wait({reading}, timeout=seconds)
        reading.cancel()
        busy, end = begin.until(ended := self._moment(answer)), monotonic()
        computed = await self._computed() - computed - (ended.tokens - begin.tokens)
        await self._written(answer, SETTLED, writing)
        alone = Pace.mean(before, await self._alone(answer, writing))
        writing.cancel()
        late = quantiles(answer.between(begin.clock, end), n=20)[-1]
        figures = {"alone": alone.clock, "busy": busy.clock, "ratio": busy.clock / alone.clock, "late": late}
        figures["ratio_of_processor_time"] = busy.processor / alone.processor
        read = "whole" if done else f"{seconds:g} s, some {computed:,} of it"
        read += f", after {cached:,} of it" if cached else ""
        return {"tokens": len(prompt), "load": load, "read": read} | figures

    async def _computed(self) -> int:
        return round((await self._server.figures(self._client.http))["computed_tokens_total"])

    def _moment(self, answer: Answer) -> "Moment":
        return Moment(monotonic(), self._server.cpu_seconds(), len(answer.tokens))

    async def _alone(self, answer: Answer, writing: asyncio.Task) -> "Pace":
        begin = self._moment(answer)
        await self._written(answer, ALONE, writing)
        return begin.until(self._moment(answer))

    async def _written(self, answer: Answer, more: int, writing: asyncio.Task) -> None:
        wanted = len(answer.tokens) + more
        while len(answer.tokens) < wanted:
            if writing.done():
                raise RuntimeError("the answer ended before all was measured: its context is too short")
            await asyncio.sleep(0.01)

    async def turns(self, count: int, tokens: int) -> dict[str, Any]:
        """Prompt tokens that were computed in a conversation that grows and branches, and those never seen before."""
        spelled = _ids_by_spelling(self._tokenizer)
        agent = Agent(self._tokenizer, self._random, await self._client.context() // 2)
        before = await self._idle()
        counted, load = [], os.getloadavg()[0]
        for _ in range(count):
            prompt = agent.prompt()
            answer = await self._client.ask(prompt, tokens)
            ids = [spelled[token] for token in answer.tokens]
            counted.append(
                {"prompt": answer.prompt, "computed": answer.prompt - answer.cached, "new": agent.new(prompt)}
            )
            agent.answered(prompt, answer.text, ids)
        after = await self._idle()
        ran, guessed, right = (
            after[f"{name}_tokens_total"] - before[f"{name}_tokens_total"]
            for name in ("computed", "drafted", "accepted")
        )
        answers = count * (tokens - 1) + guessed - right
        sums = {name: sum(turn[name] for turn in counted) for name in ("prompt", "computed", "new")}
        return {"turns": count, "load": load, **sums, "by_metrics": round(ran - answers), "each": counted}

    async def _idle(self) -> dict[str, float]:
        """The server's figures once nothing is computed, not even for a client that has gone."""
        while True:
            figures = await self._server.figures(self._client.http)
            if not figures["running"]:
                return figures
            await asyncio.sleep(0.05)

    def _ids(self, count: int) -> list[int]:
        """Any but the first and the last of the vocabulary, where special ones are, and the one that turns begin with:
        what was measured before has nothing in common with them."""
        size = self._tokenizer.vocabulary_size
        ordinary = [token for token in range(size // 20, size * 19 // 20) if token != self._begins]
        return self._random.choices(ordinary, k=count)


class Agent:
    """A conversation as a text. Now and then it goes back to an earlier turn and on from there."""

    def __init__(self, tokenizer: Tokenizer, random: Random, longest: int):
        self._tokenizer, self._random, self._longest = tokenizer, random, longest
        self._branches = [f"{SYSTEM} " + " ".join(question(random) for _ in range(20))]
        self._seen: list[list[int]] = []

    def prompt(self) -> str:
        back = self._random.random() < BRANCH or len(self._encode(self._branches[-1])) > self._longest
        text = self._random.choice(self._branches[: max(len(self._branches) // 2, 1)]) if back else self._branches[-1]
        said = " ".join(question(self._random) for _ in range(self._random.randint(2, 30)))
        return f"{text}\nUser: {said}\n{continuation(self._random).prompt}\nAssistant:"

    def new(self, prompt: str) -> int:
        """Tokens that no earlier prompt or answer began with; the last one is always run."""
        ids = self._encode(prompt)
        return len(ids) - max((common_prefix(seen, ids[:-1]) for seen in self._seen), default=0)

    def answered(self, prompt: str, text: str, ids: Sequence[int]) -> None:
        """An answer's last token has not been through the model."""
        self._seen.append([*self._encode(prompt), *ids[:-1]])
        self._branches.append(prompt + text)

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)


class Pace(NamedTuple):
    """Seconds of a token."""

    clock: float
    processor: float

    @staticmethod
    def mean(one: "Pace", other: "Pace") -> "Pace":
        return Pace(*map(mean, zip(one, other, strict=True)))


class Moment(NamedTuple):
    """Of an answer that is being written: the clock, the server's processor time, and its tokens so far."""

    clock: float
    processor: float
    tokens: int

    def until(self, end: "Moment") -> Pace:
        count = end.tokens - self.tokens
        return Pace((end.clock - self.clock) / count, (end.processor - self.processor) / count)


def _medians(speeds: dict[int, list[tuple[float, float]]], kind: int) -> dict[int, float]:
    return {count: median(speed[kind] for speed in runs) for count, runs in speeds.items()}


def _ratios(speeds: dict[int, list[tuple[float, float]]], kind: int) -> dict[int, float]:
    rounds = {count: zip(runs, speeds[1], strict=True) for count, runs in speeds.items()}
    return {count: median(one[kind] / alone[kind] for one, alone in pairs) for count, pairs in rounds.items()}


def _ids_by_spelling(tokenizer: Tokenizer) -> dict[str, int]:
    return {shown(token, tokenizer): token for token in range(tokenizer.vocabulary_size)}

"""Hours of mixed load on `divebell serve`, which is killed and restarted meanwhile: no wrong answer, no leak, no hang.

    python benchmarks/soak.py --minutes 120 --clients 32 [--model smollm2-135m] [--seed 1] [--json FILE]

Of the requests a tenth is cancelled and a twentieth is garbage. The weights are f32, so that an answer depends on the
request alone: each must be the one that was given before, or that `divebell.load` gave before the server was started.
Restarts stop after two thirds of the time; the rest shows whether memory stays flat. Ends with code 1 after a failure.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import quantiles
from time import monotonic
from typing import Any

import httpx

import divebell
from divebell.config import parse_bytes
from soak_answers import Told
from soak_asks import Ask, continuation, opening, question
from soak_clients import Client, Interrupted, Soak, Wrong
from soak_garbage import BODY_LIMIT
from soak_server import Sample, Server, growth

PAGE = 64
PATIENCE = 7200.0  # seconds that the server gives requests; what hangs is told here, by a clock that knows of load
REFERENCES = 24


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    summary = asyncio.run(_run(options))
    print(json.dumps(summary, indent=1))
    if options.json:
        options.json.write_text(json.dumps(summary, indent=1) + "\n")
    return 1 if summary["failures"] else 0


async def _run(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="divebell-soak-") as folder:
        place = Path(folder)
        limits = ("--ram", options.ram, "--context", str(options.context), "--weights", "f32")
        more = ("--kv-dir", str(place / "kv"), "--max-body", str(BODY_LIMIT))
        server = Server([f"soak={options.model}", *limits, *more, "--time-limit", str(PATIENCE)], PATIENCE, place)
        soak = Soak(server, options.seed, options.context, options.limit)
        soak.answers |= _references(options)
        run = Run(soak, options)
        try:
            await run.all()
        finally:
            server.end()
        return run.summary()


def _references(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Answers of the engine without a server, one alone at a time."""
    random, found = Random(f"{options.seed} references"), {}
    with divebell.load(options.model, weights="f32", ram=options.ram, context=options.context) as llm:
        for _ in range(REFERENCES):
            chat = Ask(max_tokens=random.choice((8, 16, 32, 64)), messages=opening(random))
            text = continuation(random)
            said = llm.chat(list(chat.messages), max_tokens=chat.max_tokens, temperature=0.0)
            found[chat.key] = {"texts": [said.text], "finishes": [said.finish_reason]}
            if text.seed is None:
                choice = {"max_tokens": text.max_tokens, "temperature": 0.0, "stop": text.stop}
                written = llm.generate(text.prompt, **choice)
                found[text.key] = {
                    "texts": [written.text] * text.count,
                    "finishes": [written.finish_reason] * text.count,
                }
    return found


class Run:
    """Clients, interruptions, and somebody who watches."""

    def __init__(self, soak: Soak, options: argparse.Namespace):
        self._soak, self._server, self._options = soak, soak.server, options
        self._random = Random(f"{options.seed} interruptions")
        self._length = options.minutes * 60
        self._begin = 0.0
        self._interruptions: list[str] = []
        self._most: dict[str, float] = {"waiting": 0, "running": 0}
        self._fewest_free = float("inf")

    async def all(self) -> None:
        await self._server.start()
        self._server.ready.set()
        self._begin = monotonic()
        watching = [asyncio.create_task(each) for each in (self._watch(), self._report())]
        clients = [asyncio.create_task(Client(self._soak, n).run()) for n in range(self._options.clients)]
        try:
            await self._interrupt()
            await self._until(self._length)
        except (RuntimeError, TimeoutError, httpx.TransportError) as problem:
            self._soak.fail(f"the server did not start or end: {problem}")
        self._soak.over.set()
        await asyncio.gather(*clients)
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        await self._end()

    async def _interrupt(self) -> None:
        """Half with SIGKILL and half with SIGTERM, in random order, at random moments of equal parts of the time."""
        count = max(2, round(self._options.minutes / 4))
        kinds = [signal.SIGKILL, signal.SIGTERM] * (count // 2)
        self._random.shuffle(kinds)
        part = self._length * 2 / 3 / len(kinds)
        for number, kind in enumerate(kinds):
            await self._until(part * (number + self._random.uniform(0.3, 0.9)))
            if self._soak.over.is_set():
                return
            await self._restart(kind, number)

    async def _restart(self, kind: signal.Signals, number: int) -> None:
        """What the server has saved on SIGTERM is there again: all full pages of a prompt."""
        text = " ".join(question(self._random) for _ in range(400))[: self._options.context // 2]
        probe = Ask(max_tokens=4, prompt=f"{self._options.seed} {number}: {text}")
        await self._probe(probe)
        await self._server.interrupt(kind)
        await self._server.start()
        before = await self._server.figures(self._soak.http)
        if told := await self._probe(probe):
            after = await self._server.figures(self._soak.http)
            counted = after["cached_tokens_total"] - before.get("cached_tokens_total", 0)
            full = (told.prompt - 1) // PAGE * PAGE
            found = f"after {kind.name} {told.cached} of {told.prompt} tokens were there, {counted:g} by /metrics"
            self._interruptions.append(found)
            if kind == signal.SIGTERM and min(told.cached, counted) < full:
                self._soak.fail(f"saved pages are lost: {found}", probe)
        self._server.ready.set()

    async def _probe(self, probe: Ask) -> Told | None:
        try:
            return await self._soak.answer(probe, "openai", False)
        except (Wrong, Interrupted) as problem:
            self._soak.fail(f"a probe failed: {problem}", probe)

    async def _until(self, moment: float) -> None:
        """Seconds from the beginning; sooner where the run is over, or the server has died."""
        while monotonic() - self._begin < moment and not self._soak.over.is_set():
            if said := self._server.died():
                raise RuntimeError(f"the server died: {said}")
            await asyncio.sleep(0.2)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(min(10.0, max(0.5, self._length / 120)))
            self._server.sample_memory()
            if self._server.ready.is_set():
                await self._look()

    async def _look(self) -> None:
        epoch = self._server.epoch
        try:
            figures = await self._server.within(self._options.limit, self._server.figures(self._soak.http))
            self._most = {name: max(self._most[name], figures[name]) for name in self._most}
            self._fewest_free = min(self._fewest_free, figures["cache_pages_free"])
        except Exception as problem:
            if self._server.epoch == epoch and self._server.ready.is_set():
                self._soak.fail(f"/metrics: {problem!r}")

    async def _report(self) -> None:
        minute = 0
        while True:
            await asyncio.sleep(60)
            minute += 1
            print(f"minute {minute}: {self._line()}", flush=True)

    def _line(self) -> str:
        counts, lives = self._soak.counts, self._server.lives
        told = ", ".join(f"{counts[name]} {name}" for name in ("requests", "compared", "cancelled", "garbage"))
        memory = lives[-1][-1].memory / 1e6 if lives[-1] else 0
        return f"{told}, {len(lives) - 1} restarts, {memory:.0f} MB, {len(self._soak.failures)} failures"

    async def _end(self) -> None:
        """Nothing runs, nothing has grown, and the server stops as it should."""
        if self._server.ready.is_set() and not self._server.died():
            await self._check_idle()
            try:
                await self._server.interrupt(signal.SIGTERM)
            except RuntimeError as problem:
                self._soak.fail(str(problem))
        for samples in self._server.lives:
            if said := growth(samples):
                self._soak.fail(said)
            most = max((sample.memory for sample in samples), default=0)
            if most > parse_bytes(self._options.ram):
                self._soak.fail(f"the server took {most / 1e6:.0f} MB; --ram is {self._options.ram}")
        for said in self._server.complaints():
            self._soak.fail(said)

    async def _check_idle(self) -> None:
        figures: dict[str, float] = {}
        for _ in range(100):
            figures = await self._server.figures(self._soak.http)
            if not figures["waiting"] and not figures["running"]:
                break
            await asyncio.sleep(0.1)
        else:
            self._soak.fail(f"nobody asks, and {figures['waiting']:g} wait and {figures['running']:g} run")
        if figures["cache_pages_free"] != figures["cache_pages_total"]:
            self._soak.fail(f"{figures['cache_pages_free']:g} of {figures['cache_pages_total']:g} pages can be had")

    def summary(self) -> dict[str, Any]:
        soak, options = self._soak, self._options
        chosen = {name: str(getattr(options, name)) for name in ("model", "ram")}
        times = quantiles(soak.seconds, n=100) if len(soak.seconds) > 1 else [0.0] * 99
        return chosen | {
            "seed": options.seed,
            "minutes": options.minutes,
            "clients": options.clients,
            "context": options.context,
            **{name: soak.counts[name] for name in sorted(soak.counts)},
            "seconds_of_a_request": {"median": round(times[49], 2), "99 %": round(times[98], 2)},
            "most": self._most,
            "fewest_free_pages": self._fewest_free,
            "interruptions": self._interruptions,
            "memory_mb": [_megabytes(life) for life in self._server.lives if life],
            "failures": soak.failures,
        }


def _megabytes(life: Sequence[Sample]) -> dict[str, int]:
    numbers = [sample.memory for sample in life]
    named = {"first": numbers[0], "last": numbers[-1], "most": max(numbers)}
    return {name: round(number / 1e6) for name, number in named.items()}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--ram", default="1200MB", help="small, so that requests wait and pages are given up")
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument(
        "--limit", type=float, default=300, help="seconds of a request that hangs, without those in line"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

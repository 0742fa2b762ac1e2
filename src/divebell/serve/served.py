"""A model under the name that clients call it by."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from divebell.engine.generation import Generation
from divebell.engine.llm import LLM
from divebell.errors import DivebellError
from divebell.serve.job import Job
from divebell.serve.limits import Limits
from divebell.serve.metrics import ModelMetrics
from divebell.serve.record import Record
from divebell.serve.refusal import stopping
from divebell.serve.worker import Worker

DEFAULTS = {"temperature": 1.0}


class Offer:
    """What clients call by one name: a model, or a model with an adapter.

    created: seconds since 1970 when it was loaded. adapter: its name in the engine. parent: the model that it changes.
    run: see `Served.run`.
    """

    run: Callable[..., AbstractAsyncContextManager[Job]]

    def __init__(self, name: str, llm: LLM, limits: Limits, adapter: str | None = None):
        self.name, self.llm, self.limits, self.adapter = name, llm, limits, adapter
        self.parent: str | None = None
        self.created = int(time.time())

    def options(self, given: Mapping[str, object]) -> dict[str, object]:
        """For a text that goes on."""
        return {**given, "adapter": self.adapter}

    def chat_options(self, given: Mapping[str, object]) -> dict[str, object]:
        """Who gives a temperature chooses for themselves; else the model's recommendation holds, or 1."""
        return self.options(given if "temperature" in given else {**DEFAULTS, **self.llm.recommended, **given})


class Served(Offer):
    """A model, which its own thread computes."""

    def __init__(self, name: str, llm: LLM, limits: Limits, metrics: ModelMetrics):
        super().__init__(name, llm, limits)
        self.metrics = metrics
        self._jobs: set[Job] = set()
        self._ends = False
        self._seconds_each = 1.0
        metrics.watch(llm.engine.state)
        self._warm_up()
        self._worker = Worker(name, llm.engine, metrics.step)
        self._worker.start()

    @property
    def present(self) -> int:
        """Answers that wait or run."""
        return sum(len(job.generations) for job in tuple(self._jobs))  # also asked by other threads

    def cut_off(self) -> None:
        """Refuses the requests that wait or run, and those to come; to be called in their event loop."""
        self._ends = True
        for job in self._jobs:
            job.refuse(stopping())

    @asynccontextmanager
    async def run(self, generations: list[Generation], record: Record, each: int = 1) -> AsyncIterator[Job]:
        """Admits and begins them; whatever is unfinished in the end is cancelled. Refuses where the queue is full, and
        once they are cut off. each: answers to one prompt, which stand together."""
        if self._ends:
            raise stopping()
        self.limits.check_queue(self.present, len(generations), self._seconds_each)
        job, begin = Job(generations), time.monotonic()
        self._jobs.add(job)
        self._worker.submit(job)
        try:
            async with asyncio.timeout(self.limits.seconds):
                yield job
        except TimeoutError:
            raise self.limits.too_slow() from None
        finally:
            self._worker.cancel(job)
            self._jobs.remove(job)
            self.metrics.ended(generations[::each], generations)
            record.count(generations[::each], generations)
            self._seconds_each += 0.2 * (time.monotonic() - begin - self._seconds_each)

    def between_steps(self, work: Callable[[], None]) -> None:
        """Does something in the model's thread, where no step runs meanwhile."""
        self._worker.call(work)

    def _warm_up(self) -> None:
        """What would otherwise be loaded with the first request. Raises a DivebellError without a tokenizer."""
        self.llm.tokenizer  # noqa: B018
        with suppress(DivebellError):  # a base model has no chat format, and continues texts
            self.llm.chat_prompt([{"role": "user", "content": "Hello"}])

    def close(self) -> None:
        """Ends the thread and lets go of the model, which saves what it is to save."""
        self._worker.stop()
        self.llm.close()


class Adapted(Offer):
    """An adapter of a served model under a name of its own; the thread, the queue and the counts are the model's."""

    def __init__(self, name: str, base: Served):
        super().__init__(name, base.llm, base.limits, name)
        self.run, self.parent = base.run, base.name


def seeded(options: Mapping[str, object], count: int) -> list[dict[str, object]]:
    """Options of several answers to one prompt: a seed that is given is the first's, and the others' come after it."""
    seed = options.get("seed")
    if seed is None:
        return [dict(options)] * count
    return [{**options, "seed": (seed + index) % (1 << 64)} for index in range(count)]

"""The thread that drives a model: requests come in through a queue, what each step makes goes out to the event loop."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from time import perf_counter

from divebell.engine.engine import Engine
from divebell.engine.generation import Generation
from divebell.serve.job import Job, Update

LOG = logging.getLogger(__name__)
Step = Callable[[list, float], None]


@dataclass(slots=True)
class Seat:
    """A generation's place in its job. told: how many of its log-probabilities have gone out."""

    job: Job
    index: int
    told: int = 0

    def news(self, generation: Generation) -> Update | None:
        """What has not gone out yet. A text is taken only here, so no piece is lost or told twice."""
        pieces, logprobs = generation.text.pieces, generation.logprobs[self.told :]
        if not pieces and not logprobs and not generation.finished:
            return None
        finished = generation.finish_reason  # before the text is taken: whatever comes later must not be missed
        text = "".join([pieces.popleft() for _ in range(len(pieces))])
        self.told += len(logprobs)
        return Update(text, logprobs, finished, generation.error)


class Worker(Thread):
    """watch: is told of every step, with the sequences it computed and its seconds."""

    def __init__(self, name: str, engine: Engine, watch: Step):
        super().__init__(name=f"divebell {name}", daemon=True)
        self._engine, self._watch = engine, watch
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._seats: dict[Generation, Seat] = {}

    def submit(self, job: Job) -> None:
        self._inbox.put(lambda: self._seat(job))

    def cancel(self, job: Job) -> None:
        """Ends what has not ended, and frees its memory; at once if the model is idle, else after the running step."""
        self._inbox.put(lambda: self._remove(job.generations))

    def call(self, work: Callable[[], None]) -> None:
        """Does something between two steps."""
        self._inbox.put(work)

    def stop(self) -> None:
        """Ends the thread; requests that still run are left where they are."""
        self._inbox.put(None)
        self.join()

    def run(self) -> None:
        while self._take_in():
            try:
                self._step()
            except Exception as problem:  # one bad step must not silence the server
                LOG.exception("a step of the engine failed")
                self._fail(problem)
            self._hand_out()

    def _take_in(self) -> bool:
        """Does what came in, waiting for it where there is nothing to compute; False when it is time to stop."""
        try:
            while True:
                command = self._inbox.get(block=not self._seats and not self._engine.busy)
                if command is None:
                    return False
                command()
        except Empty:
            return True

    def _seat(self, job: Job) -> None:
        for index, generation in enumerate(job.generations):
            self._seats[generation] = Seat(job, index)
            try:
                self._engine.start(generation)
            except Exception as problem:
                generation.error = problem
        self._hand_out()

    def _step(self) -> None:
        begin = perf_counter()
        computed = self._engine.step()
        self._watch(computed, perf_counter() - begin)

    def _hand_out(self) -> None:
        news: dict[object, list[tuple[Job, int, Update]]] = {}
        for generation, seat in list(self._seats.items()):
            if update := seat.news(generation):
                news.setdefault(seat.job.loop, []).append((seat.job, seat.index, update))
                if update.finish_reason or update.error:
                    del self._seats[generation]
        for loop, updates in news.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_deliver, updates)

    def _fail(self, problem: Exception) -> None:
        for generation in list(self._seats):
            generation.error = generation.error or problem
            self._engine.remove(generation)

    def _remove(self, generations: list[Generation]) -> None:
        for generation in generations:
            if self._seats.pop(generation, None):
                self._engine.remove(generation)


def _deliver(updates: list[tuple[Job, int, Update]]) -> None:
    for job, index, update in updates:
        job.put(index, update)

"""One engine for any number of Python threads: whoever waits for tokens computes them, for everybody.

There is no thread of the engine's own. A caller that wants its next token takes the lock and runs a step, and a step
advances every running request; so callers on several threads share one forward pass, and an idle engine costs nothing.
A server lends it a thread that calls `step` for as long as there are requests, and may share it with such callers.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from divebell.engine.books import Books
from divebell.engine.completion import Completion
from divebell.engine.core import Core
from divebell.engine.generation import Generation
from divebell.engine.scheduler import Chunk
from divebell.engine.sequence import Sequence
from divebell.errors import BadInput
from divebell.models.adapter import Adapter
from divebell.weights.adapter import AdapterFile

_PAGES = ("pages_total", "pages_free", "pages_lent")


class Engine:
    """The only one to touch the core. Everything here may be called from any thread."""

    def __init__(self, core: Core):
        self._core: Core | None = core
        self._lock = Lock()
        self._removed: deque[Sequence] = deque()

    def keep(self, books: Books) -> None:
        """From now on, what sequences use is counted in `books`."""
        with self._locked():
            self._open_core().books = books

    @property
    def config(self) -> object:
        """The model's own."""
        with self._locked():
            return self._open_core().model.config

    def start(self, sequence: Sequence) -> None:
        """Queues a sequence."""
        with self._locked():
            self._open_core().submit(sequence)

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of those that requests may have."""
        core = self._core
        return tuple(core.adapters.named) if core else ()

    def adapter(self, name: str | None) -> Adapter | None:
        """By its name; None for None. BadInput for a name that there is not."""
        if name is None:  # not worth waiting for a step to end
            return None
        with self._locked():
            return self._open_core().adapters.get(name)

    def add_adapter(self, name: str, file: AdapterFile, least_pages: int) -> None:
        """Takes its room from the cache, of which `least_pages` must be left. Steps go on while it is made ready."""
        with self._locked():
            model, adapters = self._open_core().model, self._open_core().adapters
        changes = model.changes(file)
        with self._locked():
            room = adapters.reserve(name, model.adapter_bytes(changes), least_pages)
        try:
            adapter = model.adapter(changes)
        except BaseException:
            with self._locked():
                adapters.give_back(name, room)
            raise
        with self._locked():
            adapters.add(name, adapter, room)

    def drop_adapter(self, name: str) -> None:
        """No new sequence may have it; those that have it end with it, and then its memory is free."""
        with self._locked():
            self._open_core().drop_adapter(name)

    @property
    def busy(self) -> bool:
        """Whether any request waits or runs."""
        core = self._core
        return core is not None and bool(core.scheduler.waiting or core.scheduler.running)

    def state(self) -> dict[str, int]:
        """How many requests wait and run, and adapters there are; pages of the cache, those to be had, those lent."""
        core = self._core
        if core is None:
            return dict.fromkeys(("waiting", "running", "adapters", *_PAGES), 0)
        pages = (core.cache.num_pages, core.tree.available, core.cache.lent_pages)
        return {
            "waiting": len(core.scheduler.waiting),
            "running": len(core.scheduler.running),
            "adapters": len(core.adapters.named),
            **dict(zip(_PAGES, pages, strict=True)),
        }

    def check_integrity(self) -> None:
        """Raises RuntimeError if a page of the cache is lost, or owned twice."""
        with self._locked():
            self._open_core().check_integrity()

    def step(self) -> list[Chunk]:
        """Runs one step for all; what was computed."""
        with self._locked():
            return self._open_core().step()

    def advance(self, sequence: Sequence) -> None:
        """Runs one step, unless another thread has finished `sequence` meanwhile. Raises the sequence's error."""
        with self._locked():
            core = self._open_core()
            if not sequence.finished:
                core.step()
        if sequence.error:
            raise sequence.error

    def run(self, sequences: list[Sequence]) -> None:
        """To their ends; frees their pages whatever happens."""
        try:
            for sequence in sequences:
                self.start(sequence)
            for sequence in sequences:
                while not sequence.finished:
                    self.advance(sequence)
                if sequence.error:
                    raise sequence.error
        finally:
            for sequence in sequences:
                self.remove(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Ends a sequence in whatever state and frees its pages, at once or when the running step is over.

        Never waits: the garbage collector may call it from within a step.
        """
        self._removed.append(sequence)
        self._sweep()

    def close(self) -> None:
        """Lets go of the model and the cache; whoever still waits for tokens is told."""
        with self._locked():
            core, self._core = self._core, None
            if core:
                core.close()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Whoever lets go of the lock frees what others removed meanwhile."""
        try:
            with self._lock:
                yield
        finally:
            self._sweep()

    def _sweep(self) -> None:
        while self._removed and self._lock.acquire(blocking=False):
            try:
                self._remove_all()
            finally:
                self._lock.release()

    def _open_core(self) -> Core:
        self._remove_all()
        if self._core is None:
            raise BadInput("this model is closed; load it again")
        return self._core

    def _remove_all(self) -> None:
        while self._removed:
            sequence = self._removed.popleft()
            if self._core:
                self._core.remove(sequence)


class Stream(Iterator[str]):
    """Pieces of text as they come. Closing it, or letting go of it, frees its memory; `completion` tells the rest.

    One stream is for one thread; several streams of one engine may run on several.
    """

    def __init__(self, engine: Engine, generation: Generation):
        self._engine, self.generation = engine, generation
        self._open = True

    def __next__(self) -> str:
        try:
            while self._open and not self.generation.text.pieces and not self.generation.finished:
                self._engine.advance(self.generation)
        except BaseException:
            self.close()
            raise
        if self._open and self.generation.text.pieces:
            return self.generation.text.pieces.popleft()
        self.close()
        raise StopIteration

    @property
    def completion(self) -> Completion:
        """What has come so far, or the whole answer once the stream has ended."""
        return self.generation.completion()

    def close(self) -> None:
        """Frees the pages; a finished request has none."""
        if self._open:
            self._open = False
            if not self.generation.finished:
                self._engine.remove(self.generation)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __del__(self):
        self.close()

"""What all requests of one server share."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from divebell.engine.llm import LLM
from divebell.engine.machine import read_gb_per_s
from divebell.errors import BadInput
from divebell.serve.keys import Keys
from divebell.serve.limits import Limits
from divebell.serve.metrics import Metrics, ModelMetrics
from divebell.serve.record import Record
from divebell.serve.refusal import Refusal
from divebell.serve.served import Adapted, Offer, Served
from divebell.serve.sessions import Sessions

PROBE = 0.1  # seconds of reading memory
PROBED = 256 << 20  # bytes of it: a server keeps to its --ram


@dataclass
class Service:
    """hosts: names that a Host header may have besides addresses. origins: of web pages that may ask. models: by the
    name that clients give; adapted: their adapters likewise. draining: told to stop; in_flight: requests that are
    being answered. sessions: of those who signed in on the page. gb_per_s: 10^9 bytes a second that this machine
    reads; None: not measured yet."""

    keys: Keys
    limits: Limits = field(default_factory=Limits)
    hosts: frozenset[str] = frozenset({"localhost"})
    origins: tuple[str, ...] = ()
    models: dict[str, Served] = field(default_factory=dict)
    adapted: dict[str, Adapted] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=Metrics)
    sessions: Sessions = field(default_factory=Sessions)
    gb_per_s: float | None = None
    draining: bool = False
    in_flight: int = 0

    def add(self, name: str, llm: LLM) -> None:
        """Serves a model, which is closed with the service."""
        self.models[name] = Served(name, llm, self.limits, ModelMetrics(self.metrics, name))
        self._tell_floor(self.models[name])

    def add_adapter(self, name: str, path: Path, model: str) -> None:
        """Serves an adapter of a model that is served. Raises BadInput for a name that is taken or a model that is not
        served, and whatever `LLM.add_adapter` raises."""
        if name in self.offers:
            raise BadInput(f"two models or adapters are called {name}; give one of them another name")
        if model not in self.models:
            raise BadInput(f"the adapter {name} is for {model}; the models served are {', '.join(self.models)}")
        self.models[model].llm.add_adapter(name, path)
        self.adapted[name] = Adapted(name, self.models[model])

    def drop_adapter(self, name: str) -> None:
        """One that is served: no new request finds it, those that have begun end with it."""
        self.adapted.pop(name).llm.drop_adapter(name)

    def measure(self) -> None:
        """How fast this machine reads; to be called before memory fills up. In the place of a step, so that no request
        disturbs it; one that comes meanwhile waits up to a quarter of a second."""
        if not self.gb_per_s and self.models:
            next(iter(self.models.values())).between_steps(self._measure)

    def _measure(self) -> None:
        self.gb_per_s = read_gb_per_s(PROBE, PROBED)
        for served in self.models.values():
            self._tell_floor(served)

    def _tell_floor(self, served: Served) -> None:
        if self.gb_per_s:
            served.metrics.floor(served.llm.info.active_bytes / (self.gb_per_s * 1e9))

    @property
    def offers(self) -> dict[str, Offer]:
        """All that clients may ask, by name."""
        return {**self.models, **self.adapted}

    def model(self, name: str, record: Record) -> Offer:
        """Refuses a name that is not served."""
        offers = self.offers
        if name not in offers:
            message = f"there is no model {name!r:.200}; served here: {', '.join(offers)}"
            raise Refusal(404, message, param="model", code="model_not_found")
        record.model = name
        return offers[name]

    async def drained(self) -> bool:
        """Takes no more requests, and waits for those in flight as long as the limits allow; whether all have ended."""
        self.draining = True
        for _ in range(max(round(self.limits.grace / 0.05), 1)):
            if not self.in_flight:
                return True
            await asyncio.sleep(0.05)
        return False

    def cut_off(self) -> None:
        """Refuses what is still computed; to be called in the event loop."""
        for served in self.models.values():
            served.cut_off()

    def close(self) -> None:
        """Lets go of all models."""
        for served in self.models.values():
            served.close()

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_) -> None:
        self.close()

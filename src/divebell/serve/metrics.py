"""Figures for Prometheus."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from divebell.engine.generation import Generation
from divebell.engine.scheduler import Chunk
from divebell.serve.record import Record

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)
_TOKEN_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5)
_BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


class Metrics:
    """Of one server; those of a model are labelled with its name."""

    def __init__(self):
        self.registry = registry = CollectorRegistry()
        model = ["model"]
        self.requests = _counter(registry, "requests", "HTTP requests", ["model", "path", "status"])
        self.prompt = _counter(registry, "prompt_tokens", "tokens of prompts, cached or not", model)
        self.cached = _counter(registry, "cached_tokens", "tokens of prompts that were in the cache", model)
        self.completion = _counter(registry, "completion_tokens", "tokens generated", model)
        self.drafted = _counter(registry, "drafted_tokens", "tokens guessed ahead and run", model)
        self.accepted = _counter(registry, "accepted_tokens", "of them, those that the model chose", model)
        self.computed = _counter(registry, "computed_tokens", "tokens that passed through the model", model)
        self.steps = _counter(registry, "step_seconds", "seconds within the model's steps", model)
        least = "seconds that the same steps take at least, each reading the weights of one token once"
        self.floor = _counter(registry, "floor_seconds", least, model)
        self.share = _gauge(registry, "share_of_floor", "floor_seconds / step_seconds since the start", model)
        self.waited = _histogram(registry, "queue_seconds", "from the request to its first computation", _SECONDS)
        self.first = _histogram(
            registry, "time_to_first_token_seconds", "from the request to its first token", _SECONDS
        )
        self.per_token = _histogram(
            registry, "time_per_token_seconds", "mean time from one token of an answer to the next", _TOKEN_SECONDS
        )
        self.batch = _histogram(registry, "batch_size", "answers and prompts that shared a step", _BATCHES)
        self.waiting = _gauge(registry, "waiting", "answers that wait for room", model)
        self.running = _gauge(registry, "running", "answers that are computed", model)
        self.adapters = _gauge(registry, "adapters", "adapters that requests may ask for", model)
        self.pages = _gauge(registry, "cache_pages", "pages of the cache", ["model", "state"])

    def request(self, record: Record) -> None:
        """A request has ended. It counts by the pattern of its path: of paths themselves there is no end."""
        self.requests.labels(record.model or "", record.route or "other", record.status).inc()

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self.registry)


class ModelMetrics:
    """Those of one model."""

    def __init__(self, metrics: Metrics, name: str):
        self._metrics, self._name = metrics, name
        self._batch = metrics.batch.labels(name)
        self._computed, self._seconds = metrics.computed.labels(name), metrics.steps.labels(name)
        self._least = metrics.floor.labels(name)
        self._floor, self._steps, self._took = None, 0, 0.0

    def floor(self, seconds: float) -> None:
        """What a step takes at least; steps before this is known are not held against it."""
        self._floor = seconds
        self._metrics.share.labels(self._name).set_function(self._share)

    def step(self, computed: Sequence[Chunk], seconds: float) -> None:
        """A step of the engine."""
        if computed:
            self._batch.observe(len(computed))
            self._computed.inc(sum(len(chunk.tokens) for chunk in computed))
            self._seconds.inc(seconds)
            if self._floor:
                self._least.inc(self._floor)
                self._steps, self._took = self._steps + 1, self._took + seconds

    def _share(self) -> float:
        return self._floor * self._steps / self._took if self._took else 0.0

    def ended(self, firsts: Iterable[Generation], generations: Iterable[Generation]) -> None:
        """Answers of one request, finished or cut off. firsts: see `divebell.serve.frames.usage`."""
        metrics, name = self._metrics, self._name
        for first in firsts:
            metrics.prompt.labels(name).inc(first.given)
            metrics.cached.labels(name).inc(first.reused or 0)
        for generation in generations:
            answered = len(generation.ids) - generation.given
            times = generation.times
            metrics.completion.labels(name).inc(answered)
            metrics.drafted.labels(name).inc(generation.drafted)
            metrics.accepted.labels(name).inc(generation.accepted)
            if answered:
                metrics.waited.labels(name).observe(times.began - times.asked)
                metrics.first.labels(name).observe(times.first - times.asked)
            if answered > 1:
                metrics.per_token.labels(name).observe((times.last - times.first) / (answered - 1))

    def watch(self, state: Callable[[], dict[str, int]]) -> None:
        """state: current numbers, asked for when somebody looks: waiting, running, adapters, and pages by kind."""
        metrics, name = self._metrics, self._name
        for key in ("waiting", "running", "adapters"):
            getattr(metrics, key).labels(name).set_function(lambda key=key: state()[key])
        for kind in ("total", "free", "lent"):
            metrics.pages.labels(name, kind).set_function(lambda kind=kind: state()[f"pages_{kind}"])


def _counter(registry: CollectorRegistry, name: str, help: str, labels: list[str]) -> Counter:
    return Counter(f"divebell_{name}", help, labels, registry=registry)


def _gauge(registry: CollectorRegistry, name: str, help: str, labels: list[str]) -> Gauge:
    return Gauge(f"divebell_{name}", help, labels, registry=registry)


def _histogram(registry: CollectorRegistry, name: str, help: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(f"divebell_{name}", help, ["model"], buckets=buckets, registry=registry)

"""The machine, live."""

from collections import deque
from collections.abc import Callable

from nicegui import ui

from divebell.config import format_bytes
from divebell.engine.machine import processor
from divebell.serve.served import Served
from divebell.serve.service import Service
from divebell.serve.ui.machine import Pace, Reading

EVERY = 1.0  # seconds between two readings
KEPT = 60  # of them
NOTE = (
    "Tokens a second are read and written together, of all requests. The floor of a step is the time in which the "
    "weights of one token are read once, at the bandwidth measured when the server was started: an estimate."
)


class MachineView:
    """visible: whether anybody looks."""

    def __init__(self, service: Service, visible: Callable[[], bool]):
        self._visible = visible
        with ui.column().classes("column-of-turns"):
            ui.label(_machine(service.gb_per_s)).classes("quiet")
            self._cards = [ModelCard(service, served) for served in service.models.values()]
            ui.label(NOTE).classes("quiet")
        ui.timer(EVERY, self._tick)

    def _tick(self) -> None:
        if self._visible():
            for card in self._cards:
                card.update()


class ModelCard:
    """One model's figures, and its pace over the last minute."""

    def __init__(self, service: Service, served: Served):
        self._service, self._served = service, served
        self._rates = deque([0.0] * KEPT, KEPT)
        self._before = Reading.of(service.metrics, served.name)
        with ui.card().classes("w-full"):
            ui.label(served.name).classes("text-lg")
            self._pace = ui.label().mark("pace")
            self._chart = ui.echart(_chart(list(self._rates))).classes("w-full h-40")
            self._queue = ui.label().mark("queue")
            self._pages = ui.label().mark("pages")
            self._bar = ui.linear_progress(0, show_value=False).props('aria-label="Pages of the cache in use"')

    def update(self) -> None:
        now = Reading.of(self._service.metrics, self._served.name)
        pace, self._before = Pace.between(self._before, now), now
        share = "" if pace.of_floor is None else f" · {pace.of_floor:.0%} of the floor"
        self._pace.text = f"{pace.tokens_per_second:,.1f} tokens/s{share}{self._floor()}"
        self._rates.append(round(pace.tokens_per_second, 1))
        self._chart.options["series"][0]["data"] = list(self._rates)
        self._show(self._served.llm.engine.state())

    def _floor(self) -> str:
        nbytes, rate = self._served.llm.info.active_bytes, self._service.gb_per_s
        return f" · floor {rate * 1e9 / nbytes:,.0f} steps/s, each reading {format_bytes(nbytes)}" if rate else ""

    def _show(self, state: dict[str, int]) -> None:
        total, free = state["pages_total"], state["pages_free"]
        self._queue.text = f"{state['running']} running, {state['waiting']} waiting"
        self._pages.text = f"{total - free:,} of {total:,} pages of the cache are held, the others can be had"
        self._bar.value = (total - free) / total if total else 0


def _machine(gb_per_s: float | None) -> str:
    return processor() if gb_per_s is None else f"{processor()}, reading {gb_per_s:.1f} GB/s (measured)"


def _chart(rates: list[float]) -> dict:
    return {
        "animation": False,
        "grid": {"left": 45, "right": 10, "top": 30, "bottom": 10},
        "xAxis": {"type": "category", "show": False, "data": list(range(KEPT))},
        "yAxis": {"type": "value", "min": 0, "name": "tokens/s", "splitLine": {"lineStyle": {"color": "#8885"}}},
        "series": [{"type": "line", "data": rates, "showSymbol": False, "areaStyle": {}}],
    }

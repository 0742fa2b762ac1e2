"""The machine, live."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import cache

from nicegui import ui

from divebell.config import format_bytes
from divebell.engine.machine import processor, read_gb_per_s
from divebell.serve.served import Served
from divebell.serve.service import Service
from divebell.serve.ui.machine import Pace, Reading

EVERY = 1.0  # seconds between two readings
KEPT = 60  # of them
PROBE = 0.3  # seconds of reading memory, which the models wait for
NOTE = (
    "Tokens a second are read and written together, of all requests. The floor of a step is the time in which the "
    "weights of one token are read once, at the bandwidth measured when this tab was first opened: an estimate."
)


class MachineView:
    """visible: whether anybody looks."""

    def __init__(self, service: Service, visible: Callable[[], bool]):
        self._visible = visible
        self._gb_per_s: float | None = None
        with ui.column().classes("column-of-turns"):
            self._machine = ui.label(processor()).classes("quiet")
            self._cards = [ModelCard(service, served) for served in service.models.values()]
            ui.label(NOTE).classes("quiet")
        ui.timer(EVERY, self._tick)

    async def _tick(self) -> None:
        if not self._visible():
            return
        if self._gb_per_s is None:
            self._gb_per_s = await asyncio.to_thread(_bandwidth)
            self._machine.text = f"{processor()}, reading {self._gb_per_s:.1f} GB/s (measured)"
        for card in self._cards:
            card.update(self._gb_per_s)


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

    def update(self, gb_per_s: float) -> None:
        """gb_per_s: of reading memory, 10^9 bytes."""
        nbytes, now = (
            self._served.llm.info.description.active_bytes,
            Reading.of(self._service.metrics, self._served.name),
        )
        pace, self._before = Pace.between(self._before, now, nbytes / (gb_per_s * 1e9)), now
        share = "" if pace.of_floor is None else f" · {pace.of_floor:.0%} of the floor"
        floor = f"floor {gb_per_s * 1e9 / nbytes:,.0f} steps/s, each reading {format_bytes(nbytes)}"
        self._pace.text = f"{pace.tokens_per_second:,.1f} tokens/s{share} · {floor}"
        self._rates.append(round(pace.tokens_per_second, 1))
        self._chart.options["series"][0]["data"] = list(self._rates)
        self._show(self._served.llm.engine.state())

    def _show(self, state: dict[str, int]) -> None:
        total, free = state["pages_total"], state["pages_free"]
        self._queue.text = f"{state['running']} running, {state['waiting']} waiting"
        self._pages.text = f"{total - free:,} of {total:,} pages of the cache are held, the others can be had"
        self._bar.value = (total - free) / total if total else 0


@cache
def _bandwidth() -> float:
    return read_gb_per_s(PROBE)


def _chart(rates: list[float]) -> dict:
    return {
        "animation": False,
        "grid": {"left": 45, "right": 10, "top": 30, "bottom": 10},
        "xAxis": {"type": "category", "show": False, "data": list(range(KEPT))},
        "yAxis": {"type": "value", "min": 0, "name": "tokens/s", "splitLine": {"lineStyle": {"color": "#8885"}}},
        "series": [{"type": "line", "data": rates, "showSymbol": False, "areaStyle": {}}],
    }

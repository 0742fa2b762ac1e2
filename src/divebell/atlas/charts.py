"""Charts as SVG text: no script, no font and no colour of their own; the page's style gives those."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 460, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 16, 18, 44
_BAR = 28
_NAMES, _VALUES = 130, 80  # room beside bars
_BESIDE = ((9, 4), (-9, 4), (0, -9), (0, 18))  # where a mark's number may stand, the first that is free
_APART = 15


@dataclass(frozen=True, slots=True)
class Axis:
    """scale: "log" or "linear". ends: least and greatest value. shown: how a tick is written."""

    label: str
    ends: tuple[float, float]
    scale: str = "linear"
    shown: Callable[[float], str] = "{:g}".format

    def share(self, value: float) -> float:
        """0 at the first end, 1 at the last."""
        low, high = (log10(end) for end in self.ends) if self.scale == "log" else self.ends
        return ((log10(value) if self.scale == "log" else value) - low) / (high - low)

    def ticks(self) -> list[float]:
        low, high = self.ends
        if self.scale == "log":
            return [10.0**power for power in range(ceil(log10(low)), floor(log10(high)) + 1)]
        step = 10 ** floor(log10(high - low))
        step = step if (high - low) / step >= 4 else step / 4
        return [step * count for count in range(ceil(low / step), floor(high / step) + 1)]


def scatter(points: Sequence[tuple[str, float, float]], x: Axis, y: Axis, title: str) -> str:
    """points: name, x, y. Numbered in the chart; the names are a list for the page to show beside it."""
    places = [_place(x, y, at_x, at_y) for _, at_x, at_y in points]
    taken, marks = list(places), []
    for number, ((name, at_x, at_y), (px, py)) in enumerate(zip(points, places, strict=True), 1):
        told = escape(f"{name}: {x.shown(at_x)}, {y.shown(at_y)}")
        dx, dy = next((beside for beside in _BESIDE if _free(px + beside[0] * 1.8, py + beside[1], taken)), _BESIDE[0])
        taken.append((px + dx * 1.8, py + dy))
        anchor = "middle" if dx == 0 else "left" if dx > 0 else "right"
        marks.append(f'<circle class="mark" cx="{px:.1f}" cy="{py:.1f}" r="5"><title>{told}</title></circle>')
        marks.append(f'<text x="{px + dx:.1f}" y="{py + dy:.1f}" class="{anchor}">{number}</text>')
    return _svg(title, HEIGHT, _frame(x, y) + "".join(marks))


def _free(px: float, py: float, taken: list[tuple[float, float]]) -> bool:
    return all(abs(px - other_x) > _APART or abs(py - other_y) > _APART - 3 for other_x, other_y in taken)


def lines(series: Sequence[tuple[str, Sequence[tuple[float, float]]]], x: Axis, y: Axis, title: str) -> str:
    """series: name, points. Each is of the page's classes s0, s1, ...; the page shows which is which."""
    drawn = []
    for index, (name, points) in enumerate(series):
        places = " ".join(f"{px:.1f},{py:.1f}" for px, py in (_place(x, y, *point) for point in points))
        drawn.append(f'<polyline class="line s{index}" points="{places}"><title>{escape(name)}</title></polyline>')
    return _svg(title, HEIGHT, _frame(x, y) + "".join(drawn))


def bars(items: Sequence[tuple[str, float, bool]], unit: str, title: str) -> str:
    """items: name, value, whether it is derived (drawn hollow). One below the other, so that names have room."""
    most, room = max(value for _, value, _ in items), WIDTH - _NAMES - _VALUES
    drawn = []
    for index, (name, value, hollow) in enumerate(items):
        top, width = index * _BAR + 6, max(value / most * room, 1)
        kind = "bar hollow" if hollow else "bar"
        drawn.append(f'<text x="{_NAMES - 8}" y="{top + 15}" class="right">{escape(name)}</text>')
        drawn.append(f'<rect class="{kind}" x="{_NAMES}" y="{top}" width="{width:.1f}" height="20"/>')
        drawn.append(f'<text x="{_NAMES + 8 + width:.1f}" y="{top + 15}">{value:,.0f} {escape(unit)}</text>')
    return _svg(title, len(items) * _BAR + 12, "".join(drawn))


def _place(x: Axis, y: Axis, at_x: float, at_y: float) -> tuple[float, float]:
    across, up = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    return _LEFT + across * x.share(at_x), HEIGHT - _BOTTOM - up * y.share(at_y)


def _frame(x: Axis, y: Axis) -> str:
    drawn = []
    for tick in y.ticks():
        _, py = _place(x, y, x.ends[0], tick)
        drawn.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{py:.1f}" y2="{py:.1f}"/>')
        drawn.append(f'<text x="{_LEFT - 6}" y="{py + 4:.1f}" class="right">{escape(y.shown(tick))}</text>')
    for tick in x.ticks():
        px, _ = _place(x, y, tick, y.ends[0])
        drawn.append(f'<line class="grid" x1="{px:.1f}" x2="{px:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>')
        drawn.append(f'<text x="{px:.1f}" y="{HEIGHT - _BOTTOM + 16}" class="middle">{escape(x.shown(tick))}</text>')
    drawn.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" class="middle">{escape(x.label)}</text>')
    drawn.append(f'<text x="{_LEFT + 4}" y="{_TOP - 3}">{escape(y.label)}</text>')
    return "".join(drawn)


def _svg(title: str, height: float, inside: str) -> str:
    label = escape(title, quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{inside}</svg>'

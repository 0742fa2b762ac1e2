"""Results as one HTML page: scores with intervals, the published figure beside them, and what they took; no script, and
nothing fetched."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from divebell import __version__
from divebell.evaluate.cost import COUNTED
from divebell.evaluate.results import Result
from divebell.evaluate.results import Score as Figure
from divebell.evaluate.scoring import Outcome, differences

_UNITS = {"prompt_tokens": "tokens read", "cached_tokens": "of these cached", "completion_tokens": "tokens written"}
_UNITS |= {"grams_co2": "g CO2", "dollars": "$"}


@dataclass(frozen=True, slots=True)
class Line:
    """One score, as shown. bar: left edge, width and middle of its interval in % of the whole; None where the score
    is no share."""

    benchmark: str
    metric: str
    score: str
    interval: str
    method: str
    questions: str
    bar: tuple[float, float, float] | None


def page(outcomes: Sequence[Outcome]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # StrictUndefined: a name that this function forgets is an error of ours, not an empty place on the page.
    environment = Environment(loader=PackageLoader("divebell.evaluate", ""), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html.j2").render(
        outcomes=outcomes,
        lines={one.model: [line for own in one.results for line in _lines(own)] for one in outcomes},
        took=[_UNITS.get(name, name) for name in COUNTED],
        amount=_amount,
        differences=differences(*outcomes) if len(outcomes) == 2 else {},
        version=__version__,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _lines(own: Result) -> list[Line]:
    questions = f"{own.questions:,} of {own.of:,}" + (f" x {own.samples}" if own.samples > 1 else "")
    return [_line(own.benchmark, one, questions) for one in own.scores]


def _line(benchmark: str, one: Figure, questions: str) -> Line:
    found = one.interval
    value, low, high = (one.written(value) for value in (found.value, found.low, found.high))
    bar = (found.low * 100, (found.high - found.low) * 100, found.value * 100) if one.share else None
    return Line(benchmark, one.metric, value, f"{low} to {high}", found.method, questions, bar)


def _amount(value: float | None) -> str:
    """Whole numbers whole, others with three figures."""
    if value is None:
        return "not known"
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 100 else f"{value:.3g}"

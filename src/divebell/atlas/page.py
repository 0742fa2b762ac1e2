"""The atlas as one HTML page: figures, charts and sources, with nothing fetched and no script."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, log10
from typing import TYPE_CHECKING

from divebell.atlas import charts, variants
from divebell.atlas.cells import FIELDS, Cell, Model, Source, claims
from divebell.atlas.derived import derived
from divebell.atlas.form import counted, written
from divebell.costs.hardware import hardware

if TYPE_CHECKING:
    from divebell.atlas.measured import Trial

BATCH = 32


@dataclass(frozen=True, slots=True)
class Shown:
    """A cell as the page shows it. number: of its source in the page's list."""

    value: object
    text: str
    note: str
    formula: str
    number: int


def page(models: Sequence[Model], trials: "Sequence[Trial] | None" = None) -> str:
    """trials: of the six forms on this machine, for a chart of their own."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    sources: dict[Source, int] = {}
    rows = [(model.title, [_shown(*cell, sources) for cell in model.cells.items()]) for model in models]
    follows = [
        (model.title, field.replace("_", " "), _shown(field, cell, sources))
        for model in models
        for field, cell in derived(model).items()
    ]
    told = [(claim, _number(claim.source, sources)) for claim in claims()]
    points, forms = quality_points(models), variants.forms()
    reaches = groupby(variants.reaches(), lambda reach: reach.form.name)
    # StrictUndefined: a name that this function forgets is an error of ours, not an empty place on the page.
    environment = Environment(loader=PackageLoader("divebell.atlas", ""), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html.j2").render(
        quality=_quality_chart(points),
        points=points,
        cost=_cost_chart(forms),
        forms=[form.name for form in forms],
        timed={batch: _timed_chart(trials, batch) for batch in _batches(trials)} if trials else {},
        batch=BATCH,
        batches=variants.BATCHES,
        factor=variants.FACTOR,
        hardware=hardware(variants.HARDWARE),
        reaches=[(name, list(row)) for name, row in reaches],
        carbon=_carbon_chart(carbon_bars(models)),
        fields=[(field.replace("_", " "), unit) for field, unit in FIELDS.items()],
        rows=rows,
        follows=follows,
        claims=told,
        sources=list(sources),
    )


def quality_points(models: Sequence[Model]) -> list[tuple[str, float, float]]:
    """Name, dollars for 10^6 tokens of answers, MMLU; of the models that have both."""
    pairs = [(model.title, model.cells["price_output"].value, model.cells["mmlu"].value) for model in models]
    return [(title, price, score) for title, price, score in pairs if price is not None and score is not None]


def carbon_bars(models: Sequence[Model]) -> list[tuple[str, float, bool]]:
    """Name, tonnes, whether derived; of the models that have either."""
    found = []
    for model in models:
        published, follows = model.cells["carbon"], derived(model).get("carbon")
        cell = follows if published.value is None else published
        if cell is not None:
            found.append((model.title, cell.value, cell is follows))
    return sorted(found, key=lambda bar: -bar[1])


def _shown(field: str, cell: Cell, sources: dict[Source, int]) -> Shown:
    return Shown(cell.value, written(field, cell), cell.note, cell.formula, _number(cell.source, sources))


def _number(source: Source, sources: dict[Source, int]) -> int:
    return sources.setdefault(source, len(sources) + 1)


def _quality_chart(points: list[tuple[str, float, float]]) -> str:
    if not points:
        return "<p>None of these models has both a price and a score.</p>"
    least, most = min(score for _, _, score in points), max(score for _, _, score in points)
    x = charts.Axis("$ for 10^6 tokens of answers", (0.1, 100), "log", "${:g}".format)
    y = charts.Axis("MMLU, %", (least - 5, min(most + 5, 100)))
    return charts.scatter(points, x, y, "MMLU against the price of a million tokens of answers")


def _carbon_chart(bars: list[tuple[str, float, bool]]) -> str:
    if not bars:
        return "<p>Of none of these models is the carbon published, or the hours that it could follow from.</p>"
    return charts.bars(bars, "t", "Tonnes of CO2 equivalents of training, by model")


def _batches(trials: "Sequence[Trial]") -> list[int]:
    return sorted({batch for _, batch in trials[0].speeds})


def _timed_chart(trials: "Sequence[Trial]", batch: int) -> str:
    series = []
    for trial in trials:
        own = {context: speed for (context, size), speed in trial.speeds.items() if size == batch}
        series.append((trial.form.name, [(context, speed.seconds / batch * 1e3) for context, speed in own.items()]))
    contexts, took = zip(*(point for _, points in series for point in points), strict=True)
    x = charts.Axis("tokens of context", (min(contexts), max(contexts)), "log", counted)
    y = charts.Axis("ms for a token", _decades(took), "log", "{:g}".format)
    return charts.lines(series, x, y, f"Milliseconds of a token against the length of the context, {batch} at a time")


def _decades(values: Sequence[float]) -> tuple[float, float]:
    return 10 ** (ceil(log10(min(values))) - 1), 10 ** ceil(log10(max(values)))


def _cost_chart(forms: list[variants.Form]) -> str:
    series = [(form.name, [(context, form.dollars(context, BATCH)) for context in variants.CONTEXTS]) for form in forms]
    dollars = [dollars for _, points in series for _, dollars in points]
    x = charts.Axis("tokens of context", (variants.CONTEXTS[0], variants.CONTEXTS[-1]), "log", counted)
    y = charts.Axis("$ for 10^6 tokens", _decades(dollars), "log", "${:g}".format)
    return charts.lines(series, x, y, "Cost of a million tokens against the length of the context, of six forms")

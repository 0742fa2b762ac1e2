"""divebell compare."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from divebell.atlas import variants
from divebell.atlas.cells import FIELDS, WORDS, Model, chosen, claims
from divebell.atlas.derived import derived
from divebell.atlas.form import written
from divebell.cli.measured import Timed, figures_of, show_timed, timing
from divebell.cli.output import print_fields, print_json, print_table
from divebell.costs.hardware import hardware
from divebell.errors import BadInput

_NUMBERS = ("parameters", "active", "context", "training_tokens", "price_input", "price_output", "mmlu", "code")
_NUMBERS += ("gpu_hours", "carbon")


def compare(
    *models: str,
    cost: bool = False,
    measure: bool = False,
    html: Annotated[Path | None, Parameter(help="also write one page with charts to this file")] = None,
    json: bool = False,
) -> None:
    """Show published figures of models, each with source and date; with one model, all of its figures and sources.

    Parameters
    ----------
    models
        names from the atlas; by default all
    cost
        show instead where experts (MoE) and latent attention (MLA) pay: the cost of a token against context and batch
    measure
        show instead what this machine takes for DeepSeek-V2-Lite in six such forms: some minutes, then remembered
    json
        print a JSON object
    """
    shown = chosen(models)
    if html and not html.expanduser().parent.is_dir():
        raise BadInput(f"html is {str(html)!r}; there is no folder {html.expanduser().parent}")
    timed = timing() if measure else None
    if html:
        _write(html.expanduser(), shown, timed)
    if json:
        print_json(figures_of(timed) if timed else _cost_figures() if cost else _figures(shown))
    elif timed:
        show_timed(timed)
    elif cost:
        _show_cost()
    else:
        _show_one(shown[0]) if len(shown) == 1 else _show_all(shown)


def _write(path: Path, models: tuple[Model, ...], timed: Timed | None) -> None:
    from divebell.atlas.page import page

    path.write_text(page(models, timed and timed.trials), encoding="utf-8")


def _figures(models: tuple[Model, ...]) -> dict:
    return {
        "units": FIELDS,
        "models": [
            {"name": model.name, "title": model.title, "cells": _plain(model.cells), "derived": _plain(derived(model))}
            for model in models
        ],
        "article": [asdict(claim) for claim in claims()],
    }


def _plain(cells: dict) -> dict:
    return {field: asdict(cell) for field, cell in cells.items()}


def _show_all(models: tuple[Model, ...]) -> None:
    for columns in (_NUMBERS, (*WORDS, "multilingual")):
        rows = [(model.title, *(written(field, model.cells[field]) for field in columns)) for model in models]
        print_table(("model", *(field.replace("_", " ") for field in columns)), rows, fold=False)
    _show_derived(models)
    told = [
        (one.subject, one.claimed, one.true, one.note, f"{one.source.title}, {one.source.date}") for one in claims()
    ]
    print_table(("the article on", "says", "published", "note", "source"), told, "What the article says")
    print("Sources and dates of a model's figures: divebell compare NAME, --json, or --html FILE.")


def _show_derived(models: tuple[Model, ...]) -> None:
    rows = [
        (model.title, field.replace("_", " "), written(field, cell), cell.formula, cell.note)
        for model in models
        for field, cell in derived(model).items()
    ]
    if rows:
        print_table(("model", "figure", "derived", "formula", "note"), rows, "Derived where nobody published it")


def _show_one(model: Model) -> None:
    print_fields([("model", model.title)])
    rows = [
        (
            field.replace("_", " "),
            written(field, cell),
            cell.note,
            f"{cell.source.title} {cell.source.url}".strip(),
            cell.source.date,
        )
        for field, cell in model.cells.items()
    ]
    print_table(("figure", "value", "note", "source", "date"), rows)
    _show_derived((model,))


def _cost_figures() -> dict:
    machine = hardware(variants.HARDWARE)
    return {
        "hardware": machine.name,
        "dollars_per_hour": machine.dollars_per_hour,
        "unit": "dollars for 10^6 tokens of answers",
        "forms": [
            {
                "name": form.name,
                "parameters": form.shape.parameters,
                "active_parameters": form.shape.active,
                "cache_bytes_per_token": form.shape.cache.per_token,
                "dollars": {
                    batch: {context: form.dollars(context, batch) for context in variants.CONTEXTS}
                    for batch in variants.BATCHES
                },
            }
            for form in variants.forms()
        ],
        "factor": variants.FACTOR,
        "reached": [
            {"form": one.form.name, "batch": one.batch, "context": one.context, "greatest": one.greatest, "at": one.at}
            for one in variants.reaches()
        ],
    }


def _show_cost() -> None:
    machine, forms = hardware(variants.HARDWARE), variants.forms()
    print(
        "DeepSeek-V3's shape in six forms: $ for 10^6 tokens of answers, by formula: the larger of bytes over bandwidth"
    )
    print(f"and multiply-adds over rates, on {machine.name} at ${machine.dollars_per_hour:.2f} an hour.")
    for batch in variants.BATCHES:
        rows = [
            (f"{context:,}", *(form.dollars(context, batch) for form in forms)) for context in variants.CONTEXTS[::2]
        ]
        print_table(("context", *(form.name for form in forms)), rows, f"\n{batch} at a time")
    rows = [(one.form.name, one.batch, *_reach(one)) for one in variants.reaches()]
    columns = ("form", "batch", f"{variants.FACTOR} times the first form", "most", "at context")
    print_table(columns, rows, f"\nWhere a form costs {variants.FACTOR} times as much as with experts and latents")


def _reach(one: variants.Reach) -> tuple[str, float, str]:
    return f"from {one.context:,} tokens" if one.context else "nowhere", one.greatest, f"{one.at:,}"

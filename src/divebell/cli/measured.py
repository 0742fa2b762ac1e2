"""What `divebell compare --measure` shows."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from divebell.atlas import variants
from divebell.cli.output import print_table

if TYPE_CHECKING:
    from divebell.atlas.measured import Factor, Trial
    from divebell.atlas.variants import Reach
    from divebell.costs.hardware import Hardware


@dataclass(frozen=True, slots=True)
class Timed:
    machine: "Hardware"
    trials: "list[Trial]"
    factors: "list[Factor]"
    reaches: "list[Reach]"

    @property
    def greatest(self) -> "Factor":
        return max(self.factors, key=lambda one: one.measured)


def timing() -> Timed:
    from divebell.atlas import measured
    from divebell.costs import settings
    from divebell.costs.this_machine import this_hardware

    own = settings.load()
    machine = this_hardware(own)
    trials = measured.trials(machine, own, lambda name: print(f"timing: {name}", file=sys.stderr))
    return Timed(machine, trials, measured.factors(trials), measured.reaches(machine))


def figures_of(timed: Timed) -> dict[str, Any]:
    from divebell.atlas.measured import FORMAT

    known = {(one.form.name, one.context, one.batch): one for one in timed.factors}
    greatest = timed.greatest
    return {
        "hardware": timed.machine.name,
        "shape": "deepseek-v2-lite",
        "format": FORMAT,
        "unit": "seconds of a step of `batch` tokens",
        "forms": [_form(trial, known) for trial in timed.trials],
        "factor": variants.FACTOR,
        "greatest": {
            "form": greatest.form.name,
            "batch": greatest.batch,
            "context": greatest.context,
            "measured": greatest.measured,
        },
        "by_formula": [
            {"form": one.form.name, "batch": one.batch, "context": one.context, "greatest": one.greatest, "at": one.at}
            for one in timed.reaches
        ],
    }


def _form(trial: "Trial", known: "dict[tuple[str, int, int], Factor]") -> dict[str, Any]:
    shape, points = trial.form.shape, []
    for (context, batch), speed in trial.speeds.items():
        factor = known.get((trial.form.name, context, batch))
        point = {"context": context, "batch": batch, "seconds": speed.seconds, "floor": speed.least}
        points.append(point | {"dollars": speed.dollars, "factor": factor and factor.measured})
    return {
        "name": trial.form.name,
        "parameters": shape.parameters,
        "active_parameters": shape.active,
        "cache_bytes_per_token": shape.cache.per_token,
        "points": points,
    }


def show_timed(timed: Timed) -> None:
    from divebell.atlas.measured import BATCHES, CONTEXTS, FORMAT

    print(f"DeepSeek-V2-Lite's shape in six forms, {FORMAT}, on {timed.machine.name}: ms of a token of an answer,")
    print("measured on some layers of each form; in brackets the floor, by formula.")
    for batch in BATCHES:
        rows = [(f"{context:,}", *(_cell(trial, context, batch) for trial in timed.trials)) for context in CONTEXTS]
        print_table(("context", *(trial.form.name for trial in timed.trials)), rows, f"\n{batch} at a time")
        rows = [(f"{context:,}", *_times(timed.factors, context, batch)) for context in CONTEXTS]
        names = [trial.form.name for trial in timed.trials[1:]]
        print_table(("context", *names), rows, f"Times the first form, {batch} at a time; in brackets by formula")
    print(_verdict(timed))


def _cell(trial: "Trial", context: int, batch: int) -> str:
    speed = trial.speeds[context, batch]
    return f"{speed.seconds / batch * 1e3:.1f} ({speed.least / batch * 1e3:.1f})"


def _times(factors: "list[Factor]", context: int, batch: int) -> list[str]:
    own = [one for one in factors if (one.context, one.batch) == (context, batch)]
    return [f"{one.measured:.1f} ({one.by_formula:.1f})" for one in own]


def _verdict(timed: Timed) -> str:
    greatest, most = timed.greatest, max(timed.reaches, key=lambda one: one.greatest)
    where = f"{greatest.form.name}, {greatest.batch} at a time, {greatest.context:,} tokens of context"
    found = f"At most {greatest.measured:.1f} times was measured ({where})."
    over = [one for one in timed.factors if one.measured >= variants.FACTOR]
    reached = "is reached" if over else "is not reached"
    formula = f"by formula up to {variants.CONTEXTS[-1]:,} tokens and {variants.BATCHES[-1]} at a time at most"
    return f"{found} A factor of {variants.FACTOR} {reached} on this machine; {formula} {most.greatest:.1f} times."

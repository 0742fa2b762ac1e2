"""The bill of an answer: energy, carbon, money, and what the same tokens cost elsewhere; and where it is kept."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from divebell.costs import carbon, energy, ledger, settings
from divebell.costs.energy import Source
from divebell.costs.prices import price
from divebell.costs.settings import Settings
from divebell.engine.books import Books, Meter, Spent, weighing


@dataclass(slots=True)
class Bookkeeper:
    """Of one loaded model. identity: what its rows say of it."""

    settings: Settings
    source: Source
    meter: Meter
    model: "Model"
    writer: ledger.Writer

    def bill(self, sequence: Any) -> dict[str, Any]:
        """Of a sequence, as far as it has come. Joules, grams of CO2 equivalents, dollars.

        joules: its share of what the machine took during its steps; of them, idle_joules would have gone anyway.
        marginal_dollars: the rest of the joules at the tariff. all_in_dollars: all joules, and wear of the hardware.
        api_lists: whence api_dollars are, and of which day.
        """
        own, spent = self.settings, sequence.spent
        grid = carbon.grid(own)
        idle = min((self.source.idle_watts or 0.0) * spent.seconds, spent.joules)
        return {
            "joules": spent.joules,
            "idle_joules": idle,
            "method": self.source.method,
            "uncertainty": self.source.uncertainty,
            "grams_co2": grid.grams(spent.joules),
            "grid": f"{grid.place}, {grid.year or grid.source}",
            "marginal_dollars": (spent.joules - idle) * own.dollars_per_joule,
            "all_in_dollars": _all_in(own, spent),
            "api_dollars": elsewhere(own, sequence.given, sequence.reused or 0, len(sequence.ids) - sequence.given),
            "api_lists": {name: f"{price(name).source}, {price(name).dated}" for name in own.prices},
            **self.model.facts,
        }

    def ended(self, sequence: Any) -> None:
        self.writer.add(
            {
                "kind": "answer",
                "time": time.time(),
                "prompt_tokens": sequence.given,
                "cached_tokens": sequence.reused or 0,
                "completion_tokens": len(sequence.ids) - sequence.given,
                "shared_seconds": sequence.spent.seconds,
                "seconds": time.perf_counter() - sequence.times.asked,
                **self.bill(sequence),
            }
        )

    def idle(self) -> None:
        """Writes down what the machine took outside of steps, and how it wore meanwhile, as far as no other process has
        done so before: each of them meters the whole machine."""
        own, since, spent, now = self.settings, self.meter.since, self.meter.take_idle(), time.time()
        spent = self._left(spent, min(self.writer.booked(since, now) / max(now - since, 1e-9), 1.0))
        row = {"kind": "idle", "since": since, "time": now, "shared_seconds": spent.seconds, "joules": spent.joules}
        row |= {"method": self.source.method, "grams_co2": carbon.grid(own).grams(spent.joules)}
        self.writer.add(row | {"all_in_dollars": _all_in(own, spent)})
        self.writer.flush()

    def _left(self, spent: Spent, share: float) -> Spent:
        """share: of the time that others have booked. Of an estimate the processor time is this process's own."""
        others = spent.joules
        if self.source.alone:
            others = min((self.source.idle_watts or 0.0) * spent.seconds, spent.joules)
        return Spent(spent.seconds * (1 - share), spent.joules - others * share)


def _all_in(own: Settings, spent: Spent) -> float:
    return spent.joules * own.dollars_per_joule + own.dollars / own.life_seconds * spent.seconds


class Model:
    """What receipts say of a model: its name, the hash of its files, its format. info: an `engine.info.Info`."""

    def __init__(self, info: Any, weights: str):
        self._info, self._weights = info, weights

    @cached_property
    def facts(self) -> dict[str, Any]:
        from divebell.engine.identity import file_identity

        files = sorted(self._info.files)
        hashes = {file.name: file_identity(file) for file in files}
        return {"model": files[0].name if files else "", "files": hashes, "format": self._weights}


def elsewhere(own: Settings, prompt: int, cached: int, answered: int) -> dict[str, float]:
    """Dollars of the same tokens at the API prices that the settings name, which prices.csv dates."""
    return {name: price(name).cost(prompt, cached, answered) for name in own.prices}


def keep_books(llm: Any, weights: str) -> Bookkeeper:
    """From now on the model's answers have bills and are written down. Raises BadFile for wrong settings."""
    own = settings.load()
    meter, source = energy.meter(own)
    keeper = Bookkeeper(own, source, meter, Model(llm.info, weights), ledger.WRITER)
    weigh = weighing(llm.engine.config, llm.info.active_parameters)
    llm.engine.keep(Books(meter, weigh, keeper.ended, keeper.bill, keeper.idle))
    return keeper


def total(rows: list[Mapping[str, Any]]) -> dict[str, float]:
    """Sums of what rows have of each figure: of answers and of idle time apart, and API prices by model.

    answer_NAME and idle_NAME sum to the machine's; other names are of answers alone.
    """
    sums: dict[str, float] = {"answers": 0}
    sums |= {f"{kind}_{name}": 0.0 for name in _OF_BOTH for kind in ("answer", "idle")}
    for row in rows:
        kind = "answer" if row.get("kind") == "answer" else "idle"
        sums["answers"] += kind == "answer"
        for name in _OF_BOTH:
            sums[f"{kind}_{name}"] += row.get(name, 0)
        for name in _OF_ANSWERS:
            sums[name] = sums.get(name, 0) + row.get(name, 0)
        for model, dollars in row.get("api_dollars", {}).items():
            sums[f"dollars at {model}"] = sums.get(f"dollars at {model}", 0.0) + dollars
    return sums


_OF_BOTH = ("shared_seconds", "joules", "grams_co2", "all_in_dollars")
_OF_ANSWERS = ("prompt_tokens", "cached_tokens", "completion_tokens", "marginal_dollars")

"""What was measured of a model on this machine, and what its maker published of its training."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

KWH = 3.6e6  # joules


@dataclass(frozen=True, slots=True)
class Score:
    """Of `divebell eval`. value, low, high: 0 to 1, with a 95 % interval. how: the settings. date: of the last answer
    (ISO 8601)."""

    benchmark: str
    metric: str
    questions: int
    value: float
    low: float
    high: float
    how: str
    date: str

    def __str__(self) -> str:
        shown = f"{self.value * 100:.1f} % ({self.low * 100:.1f} to {self.high * 100:.1f})"
        return f"{self.benchmark}, {self.questions:,} questions, {self.metric}: {shown}; {self.how}; {self.date}"


@dataclass(frozen=True, slots=True)
class Energy:
    """Of all answers of the model in the ledger of receipts. tokens: read and written, cached ones left out."""

    answers: int
    tokens: int
    joules: float
    grams_co2: float
    methods: str

    def __str__(self) -> str:
        each = self.joules / max(self.tokens, 1) * 1000
        return (
            f"in use here {self.joules:,.0f} J and {self.grams_co2:,.2f} g of CO2 for {self.answers:,} answers, "
            f"{each:,.1f} J for 1,000 tokens ({self.methods})"
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """training_tokens, gpu_hours: as published for a model of this name, with the source; empty where they are not."""

    scores: tuple[Score, ...] = ()
    energy: Energy | None = None
    training_tokens: str = ""
    gpu_hours: str = ""


def energy(receipts: Iterable[Mapping[str, Any]], files: Collection[str]) -> Energy | None:
    """Of the answers whose model consists of some of these files, by their hashes; None where there are none."""
    rows = [row for row in receipts if row.get("kind") == "answer" and _of(row.get("files"), files)]
    if not rows:
        return None
    tokens = sum(row["prompt_tokens"] - row["cached_tokens"] + row["completion_tokens"] for row in rows)
    methods = "; ".join(sorted({row["method"] for row in rows}))
    joules, grams = (sum(row[name] for row in rows) for name in ("joules", "grams_co2"))
    return Energy(len(rows), tokens, joules, grams, methods)


def _of(own: Any, files: Collection[str]) -> bool:
    return isinstance(own, dict) and bool(own) and set(own.values()) <= set(files)

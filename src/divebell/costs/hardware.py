"""Machines that a model may run on: this one, as measured, and a catalogue of others, as published (hardware.csv)."""

from dataclasses import dataclass
from functools import cache

from divebell.costs.table import rows
from divebell.errors import BadInput

REACHED = {"gpu": (3000 / 3350, 580 / 989), "cpu": (0.8, 0.5)}
"""Shares of the published bandwidth and rates that programs reach. GPUs: DeepSeek's FlashMLA on an H800, 3,000 GB/s
and 580 TFLOP/s (its README of February 2025). CPUs: our judgement, no program was measured on them."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """memory: bytes. read: bytes a second. int8, bf16, f32: multiply-adds a second; f32 None: half as many as of
    bf16. watts: of its chips, None: not published.

    dollars: of its processors, dollars_per_hour: rent; None where there is no dated price. export: the state of
    United States export control, as of export_date.
    """

    name: str
    kind: str
    chips: int
    memory: float
    read: float
    int8: float
    bf16: float
    watts: float | None
    dollars: float | None
    dollars_per_hour: float | None
    source: str
    date: str
    export: str
    export_source: str
    export_date: str
    f32: float | None = None

    @property
    def rates(self) -> dict[str, float]:
        quantized = max(self.int8, self.bf16)  # widened, by many tokens, where that is faster
        return {"int8": quantized, "bf16": self.bf16, "f32": self.f32 or self.bf16 / 2}

    def reached(self) -> tuple[float, dict[str, float]]:
        """Bandwidth and rates that a program can count on."""
        reading, arithmetic = REACHED[self.kind]
        return self.read * reading, {kind: rate * arithmetic for kind, rate in self.rates.items()}


@cache
def catalogue() -> tuple[Hardware, ...]:
    return tuple(_hardware(row) for row in rows("divebell.costs", "hardware"))


def hardware(name: str) -> Hardware:
    """BadInput names the known ones."""
    known = {machine.name: machine for machine in catalogue()}
    if name not in known:
        raise BadInput(f"there is no hardware {name!r}; known: this, {', '.join(known)}")
    return known[name]


def _hardware(row: dict[str, str]) -> Hardware:
    words = {key: row[key] for key in ("name", "kind", "source", "date", "export", "export_source", "export_date")}
    money = {key: float(row[key]) if row[key] else None for key in ("watts", "dollars", "dollars_per_hour")}
    return Hardware(
        chips=int(row["chips"]),
        memory=float(row["memory_gb"]) * 1e9,
        read=float(row["read_gb_per_s"]) * 1e9,
        int8=float(row["int8_tops"]) / 2 * 1e12,
        bf16=float(row["bf16_tflops"]) / 2 * 1e12,
        **money,
        **words,
    )

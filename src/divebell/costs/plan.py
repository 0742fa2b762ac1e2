"""What a model needs and does on a machine: memory, speed, watts, money, and what limits it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divebell.costs.hardware import Hardware
from divebell.costs.roofline import demand
from divebell.costs.settings import Settings
from divebell.costs.shape import Shape
from divebell.costs.this_machine import keep, read, speeds_place

WORKSPACE = 1 << 30
PROMPT = 512  # tokens of a sequence's step
TOGETHER = {"gpu": 8, "cpu": 1}  # prompts in a step: GPUs need thousands of tokens before experts' weights pay
Point = tuple[str, int, int, int]


@dataclass(frozen=True, slots=True)
class Speed:
    """seconds: predicted, of a step of `tokens` new tokens of each of `batch` sequences at `depth`. least: the floor.

    measured: by `divebell bench`, where it was run. watts: while it runs, None where not known. dollars: for 10^6
    tokens, electricity and hardware or rent, None where a part is not known.
    """

    kind: str
    tokens: int
    depth: int
    batch: int
    seconds: float
    least: float
    bottleneck: str
    watts: float | None
    dollars: float | None
    measured: float | None = None

    @property
    def tokens_per_s(self) -> float:
        return self.tokens * self.batch / self.seconds


def memory(shape: Shape, context: int, batch: int) -> float:
    """Bytes: weights, cache of `batch` contexts, workspace."""
    return shape.weight_bytes + batch * (shape.cache.per_token * context + shape.cache.fixed) + WORKSPACE


def readable(shape: Shape, contexts: list[int]) -> list[int]:
    """Those that leave room for a step of a prompt before the longest that the model reads."""
    return [depth for depth in contexts if depth + PROMPT <= shape.longest]


def points(shape: Shape, machine: Hardware, contexts: list[int], batches: list[int]) -> tuple[list[Point], list[Point]]:
    """(kind, tokens, depth, batch) of the speeds that a plan shows, and those of which the memory holds too little.

    Where nothing can be decoded, no prompt is of use either.
    """
    depths = readable(shape, contexts)
    wanted = [("prompt", PROMPT, depth, _together(shape, machine, depth)) for depth in depths]
    wanted += [("decode", 1, depth, batch) for depth in depths for batch in batches]
    held = [one for one in wanted if memory(shape, one[2], one[3]) <= machine.memory]
    shown = held if any(kind == "decode" for kind, *_ in held) else []
    return shown, [one for one in wanted if one not in shown]


def _together(shape: Shape, machine: Hardware, depth: int) -> int:
    """Prompts that share a step: as many as the machine's kind does, or fewer where the memory ends."""
    return next((n for n in range(TOGETHER[machine.kind], 1, -1) if memory(shape, depth, n) <= machine.memory), 1)


def on_paper(shape: Shape, machine: Hardware, wanted: list[Point], settings: Settings) -> list[Speed]:
    """By formula: the floor at the published rates, and at the share of them that programs reach."""
    read, rates = machine.reached()
    speeds = []
    for kind, tokens, depth, batch in wanted:
        needed = demand(shape, tokens, depth, batch)
        seconds = needed.seconds(read, rates)
        dollars = money(settings, machine, seconds / (tokens * batch))
        least, limit = needed.seconds(machine.read, machine.rates), needed.bottleneck(read, rates)
        speeds.append(Speed(kind, tokens, depth, batch, seconds, least, limit, machine.watts, dollars))
    return speeds


def money(settings: Settings, machine: Hardware, seconds: float) -> float | None:
    """Dollars for 10^6 tokens of `seconds` each on a machine that does nothing else: rent, or power and wear."""
    if machine.dollars_per_hour is not None:
        return seconds * 1e6 / 3600 * machine.dollars_per_hour
    if machine.watts is None or machine.dollars is None:
        return None
    return seconds * 1e6 * (machine.watts * settings.dollars_per_joule + machine.dollars / settings.life_seconds)


def keep_bench(path: Path | str, rows: list[dict[str, Any]]) -> None:
    """Remembers what `divebell bench` measured of a file, beside what it measured before."""
    kept = read(speeds_place())
    old = measured_speeds(kept, path)
    old.update((_key(row), _step_seconds(row)) for row in rows)
    found = [
        dict(zip(("kind", "tokens", "depth", "batch"), key, strict=True)) | {"seconds": s} for key, s in old.items()
    ]
    kept.setdefault("bench", {})[str(Path(path).resolve())] = found
    keep(speeds_place(), kept)


def _key(row: dict[str, Any]) -> tuple[str, int, int, int]:
    return row["kind"], row["tokens"] if row["kind"] == "prompt" else 1, row["depth"], row["batch"]


def _step_seconds(row: dict[str, Any]) -> float:
    return (row["tokens"] if row["kind"] == "prompt" else row["batch"]) / row["tokens_per_s"]


def measured_speeds(kept: dict[str, Any], path: Path | str) -> dict[tuple[str, int, int, int], float]:
    """(kind, tokens, depth, batch) -> seconds of a step, as `divebell bench` last measured them for this file."""
    rows = kept.get("bench", {}).get(str(Path(path).resolve()), [])
    return {(r["kind"], r["tokens"], r["depth"], r["batch"]): r["seconds"] for r in rows}

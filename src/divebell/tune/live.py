"""A run as the person at hand sees it: a bar on stderr, and what it came to."""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from divebell.config import format_bytes
from divebell.engine.machine import gmac_per_s
from divebell.tune.record import recorded
from divebell.tune.run import Run

_RECENT = 10  # steps that the speed is told from


def watched(run: Run, out: Path) -> dict[str, Any]:
    """Trains to the end. What the objective shows, held_out: first and last of the whole run; tokens_per_s and what
    follows: since it was gone on with; share_of_floor: of the machine's multiply-adds in bfloat16."""
    floor, rows, shown = gmac_per_s("bf16") * 1e9, [], run.objective.shown
    with _bar() as bar:
        task = bar.add_task("", total=run.steps, figures="loading")
        for row, figures in _with_speed(_unless_interrupted(run.train(out)), run.plan.multiply_adds / floor):
            rows.append(row | figures)
            line = _line(row, figures, shown)
            bar.update(task, completed=row["step"] + 1, figures=line)
            if "held_out" in row and not bar.console.is_terminal:  # a log has no bar
                told = f"step {row['step'] + 1} of {run.steps}  {line}  held out {row['held_out']:.4f}"
                bar.console.print(told, soft_wrap=True)
    own = {"out": out, "result": run.result, "steps": run.steps} | _ends(recorded(out), (*shown, "held_out"))
    return own | (_speeds(rows) if rows else {})


def _unless_interrupted(rows: Iterator[dict]) -> Iterator[dict]:
    try:
        yield from rows
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "interrupted; the same command goes on from the last state, of a minute ago at most"
        ) from None


def peak_memory() -> int:
    """Bytes that this process has had at once."""
    return getrusage(RUSAGE_SELF).ru_maxrss * 1024


def _bar() -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[figures]}"), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def _with_speed(rows: Iterator[dict], seconds_a_token: float) -> Iterator[tuple[dict, dict]]:
    recent: deque[dict] = deque(maxlen=_RECENT)
    for row in rows:
        recent.append(row)
        speed = sum(r["tokens"] for r in recent) / max(1e-9, sum(r["seconds"] for r in recent))
        yield row, {"tokens_per_s": round(speed, 1), "share_of_floor": round(speed * seconds_a_token, 4)}


def _line(row: dict, figures: dict, shown: Sequence[str]) -> str:
    own = " ".join(f"{name} {row[name]:.4f}" for name in shown)
    speed = f"{figures['tokens_per_s']:.0f} tokens/s, {figures['share_of_floor']:.0%} of floor"
    return f"{own}  {speed}  {format_bytes(peak_memory())}"


def _ends(rows: list[dict], names: Sequence[str]) -> dict[str, list[float]]:
    known = {name: [row[name] for row in rows if name in row] for name in names}
    return {name: [round(values[0], 4), round(values[-1], 4)] for name, values in known.items() if values}


def _speeds(rows: list[dict]) -> dict[str, Any]:
    speed = sum(row["tokens"] for row in rows) / sum(row["seconds"] for row in rows)
    share = rows[-1]["share_of_floor"] * speed / rows[-1]["tokens_per_s"]
    return {"tokens_per_s": round(speed, 1), "share_of_floor": round(share, 4), "peak_memory": peak_memory()}

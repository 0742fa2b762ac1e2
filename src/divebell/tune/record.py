"""The folder of a run: its settings, a line of figures for each step, and a plot of the loss."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from divebell.errors import BadInput
from divebell.weights.mapped import draft

SETTINGS, METRICS = "config.json", "metrics.jsonl"
_EMPTY = {SETTINGS, f"{SETTINGS}.part", f"{METRICS}.part"}  # what a process leaves that has not worked yet


class Record:
    """Opens `folder`, or makes it. Raises BadInput where another run, or anything else, is in it."""

    def __init__(self, folder: Path, settings: dict[str, Any]):
        self.folder = folder
        before = self._before()
        if before is None:
            folder.mkdir(parents=True, exist_ok=True)
            self._write(SETTINGS, json.dumps(settings, indent=2) + "\n")
        elif not before.keys() & settings.keys():
            raise self._no_run()
        elif changed := [name for name in settings if settings[name] != before.get(name)]:
            was = ", ".join(f"{name} was {before.get(name)!r} and is {settings[name]!r}" for name in changed)
            raise BadInput(f"{folder} holds a run with other settings ({was}); give these, or another --out")

    @contextmanager
    def held(self) -> Iterator[None]:
        """For one process at a time, until it ends or dies. Raises BadInput where another is at it."""
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            self._lock(folder)
            yield
        finally:
            os.close(folder)

    def _lock(self, folder: int) -> None:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            told = f"another process is at the run in {self.folder}; wait for it, or give another --out"
            raise BadInput(told) from None

    def begin(self, step: int) -> None:
        """Forgets lines of steps from `step` on: they were run, but not saved."""
        kept = [line for line in recorded(self.folder) if line["step"] < step]
        self._write(METRICS, "".join(json.dumps(line) + "\n" for line in kept))

    def add(self, figures: dict[str, Any]) -> None:
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")

    def plot(self, name: str, unit: str) -> None:
        """NAME.png: a figure of each step, and of the held-out rows where there are any."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        rows = recorded(self.folder)
        figure, axes = pyplot.subplots(figsize=(7, 4))
        for key, label in ((name, "training"), ("held_out", "held out")):
            if points := [(row["step"], row[key]) for row in rows if key in row]:
                axes.plot(*zip(*points, strict=True), label=label, marker="." if key == "held_out" else None)
        axes.set(xlabel="step", ylabel=f"{name}, {unit}")
        axes.legend()
        with draft(self.folder / f"{name}.png") as part:
            figure.savefig(part, format="png", dpi=120, bbox_inches="tight")
        pyplot.close(figure)

    def _before(self) -> dict[str, Any] | None:
        if not self.folder.exists() or (self.folder.is_dir() and not self._worked()):
            return None
        try:
            before = json.loads((self.folder / SETTINGS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = None
        if not isinstance(before, dict):
            raise self._no_run()
        return before

    def _worked(self) -> bool:
        """Whether anything came of it that could be lost."""
        return any(
            file.name not in _EMPTY and (file.name != METRICS or file.stat().st_size) for file in self.folder.iterdir()
        )

    def _no_run(self) -> BadInput:
        return BadInput(f"{self.folder} is there and holds no run; give another --out")

    def _write(self, name: str, text: str) -> None:
        with draft(self.folder / name) as part:
            part.write_text(text, encoding="utf-8")


def recorded(folder: Path) -> list[dict[str, Any]]:
    """The figures of a run's steps until now; a last line that is cut short is left out."""
    path = folder / METRICS
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
    return [json.loads(line) for line in lines]

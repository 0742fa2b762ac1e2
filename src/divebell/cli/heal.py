"""Healing of a converted model: it learns from the original, layer by layer and then as a whole. The work lies in a
folder beside the result, so that the same command goes on with it after a kill."""

import gc
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from divebell.errors import BadInput

LEAST_TOKENS = 2048  # to learn from
_STREAM = 2**27  # numbers at most of a stream that is followed layer by layer; some six such arrays are in memory
_HOW = {"context": 512, "pack": 1024, "batch": 4, "rate": 3e-5}
_FIGURES = "figures.json"
_BYTES = 32  # of a number on disk: three checkpoints (4 + 2 + 2), a state and the next (12 each)


class Healing:
    """Checked, with nothing written. asked: what tells this conversion from another.

    Raises a DivebellError where it can't be done.
    """

    def __init__(
        self,
        original: Path,
        out: Path,
        texts: Sequence[Path],
        asked: dict[str, Any],
        threads: int | None,
        ram: str | None,
    ):
        from divebell.cli.tune import require_torch, use_threads

        require_torch()
        use_threads(threads)
        from divebell.models.write import check_new_folder
        from divebell.tune.settings import Settings

        self._original, self._out, self._texts, self._asked, self._ram = original, out, texts, asked, ram
        self._folder = out.with_name(f"{out.name}.healing")
        self._settings = Settings(teacher=str(original), seed=asked["seed"], **_HOW)
        plan = self._run(original).plan
        if plan.learned < LEAST_TOKENS:
            raise BadInput(
                f"the texts to heal with have {plan.learned:,} tokens; at least {LEAST_TOKENS:,} are needed: "
                "give longer ones"
            )
        if not self._folder.exists():
            check_new_folder(out, _BYTES * plan.trained)

    def conversion(self, convert: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """What `convert` tells of the model that it leaves in a folder; it is not called again where it has been."""
        from divebell.tune.record import Record
        from divebell.weights.mapped import draft

        Record(self._folder, self._asked)
        told = self._folder / _FIGURES
        if not told.is_file():
            shutil.rmtree(self._folder / "converted", ignore_errors=True)  # a kill left it without its figures
            figures = convert(self._folder / "converted")
            with draft(told) as part:
                part.write_text(json.dumps(figures), encoding="utf-8")
        return json.loads(told.read_text(encoding="utf-8"))

    def layer_by_layer(self) -> Path:
        """The first step's model."""
        folder = self._folder / "layerwise"
        if not (folder / "model").exists():
            folder.mkdir(exist_ok=True)
            self._layerwise(folder)
        return folder / "model"

    def heal(self) -> dict[str, Any]:
        """Leaves the healed model at `out`. Where the run's figures are, and what came of it."""
        from divebell.engine.allocator import give_back
        from divebell.tune.live import watched

        near = self.layer_by_layer()
        gc.collect()
        give_back()  # what the steps before took, so that the plan finds it free
        run, folder = self._run(near), self._folder / "run"
        figures = {} if run.done(folder) else watched(run, folder)
        taken = folder / "model" if _came_nearer(folder) else near
        taken.replace(self._out)
        told = {"healing": folder, "steps": run.steps, "taken": taken.parent.name}
        return told | {name: figures[name] for name in ("kl", "held_out") if name in figures}

    def _run(self, model: Path) -> Any:
        from divebell.tune.run import Run

        return Run("full", str(model), self._texts, self._settings, self._ram)

    def _layerwise(self, folder: Path) -> None:
        from rich.console import Console
        from rich.progress import track

        from divebell.tune.full import Full
        from divebell.tune.layerwise import follow
        from divebell.tune.model import Trainee
        from divebell.tune.record import METRICS
        from divebell.tune.walk import Walk
        from divebell.weights.checkpoint import open_checkpoint

        student, method = Trainee(open_checkpoint(self._folder / "converted")), Full()
        method.attach(student)
        texts = self._first_texts(_STREAM // student.config.hidden)
        layers = follow(student, Trainee(open_checkpoint(self._original)), texts, Walk(folder))
        shown = {"description": "layer by layer", "console": Console(stderr=True), "total": student.config.layers}
        with (folder / METRICS).open("w", encoding="utf-8") as file:
            for layer, (before, after) in enumerate(track(layers, **shown)):
                file.write(json.dumps({"layer": layer, "before": before, "after": after}) + "\n")
                file.flush()
        method.save(student, folder)

    def _first_texts(self, room: int) -> list[Any]:
        """Of `room` tokens and what is left of the last one's."""
        texts = []
        for sample in self._run(self._original).training:
            if room > 0:
                texts.append(sample.ids)
                room -= len(sample)
        return texts


def _came_nearer(run: Path) -> bool:
    """Whether held-out rows tell that it was worth it, where there are any."""
    from divebell.tune.record import METRICS

    rows = (json.loads(line) for line in (run / METRICS).read_text(encoding="utf-8").splitlines())
    told = [row["held_out"] for row in rows if "held_out" in row]
    return not told or told[-1] <= told[0]

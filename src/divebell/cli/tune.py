"""divebell tune."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from divebell.errors import BadInput
from divebell.tune.settings import TASK_EXPERTS, Settings

if TYPE_CHECKING:
    from divebell.tune.run import Run

_ALL_DEFAULT = Settings()


def tune(
    method: str,
    model: str,
    data: Path,
    /,
    *more: Path,
    out: Path,
    settings: Annotated[Settings, Parameter(name="*")] = _ALL_DEFAULT,
    dry_run: bool = False,
    threads: int | None = None,
    ram: str | None = None,
    json: bool = False,
) -> None:
    """Train a model on your own rows, or a new one on texts. The same command continues a run that was broken off.

    Parameters
    ----------
    method
        lora (adapters beside the weights in bfloat16), qlora (beside the weights as they are stored), full (all
        weights), dpo (as qlora, from preferences), grpo (as qlora, from rewards), or new (a model that begins from
        nothing)
    model
        a catalogue name, a folder, a .gguf file, or a hub id; for new, a config.json
    data
        a .jsonl or .json file of messages, of prompt and completion, or of text; or a plain text; for dpo such a file
        of prompt, chosen and rejected, for grpo of prompt and answer
    more
        further files
    out
        a new folder, for settings, metrics.jsonl, loss.png, and the adapter or model
    dry_run
        tell what it would take, show a row with its trained tokens between ⟦ and ⟧, and stop
    threads
        by default one for each core
    ram
        memory that may be taken, such as 6GiB
    json
        print a JSON object
    """
    from divebell.cli.output import print_fields, print_json

    require_torch()
    from divebell.tune.live import watched
    from divebell.tune.run import Run

    use_threads(threads)
    run = Run(method, model, [data, *more], settings, ram)
    figures = _planned(run) if dry_run else watched(run, out)
    print_json(figures) if json else print_fields((name, _shown(value)) for name, value in figures.items())


def require_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise BadInput("tuning needs torch: pip install 'divebell[tune]'")


def use_threads(threads: int | None) -> None:
    """None: as many as the kernels use by themselves; torch would count processors. BadInput for fewer than one."""
    from divebell.ops import native
    from divebell.tune import model

    if threads is not None and threads < 1:
        raise BadInput(f"threads is {threads}; it must be at least 1")
    model.use_threads(threads or native.threads())


def _planned(run: "Run") -> dict[str, Any]:
    plan = run.plan
    return {
        "steps": run.steps,
        "samples": plan.samples,
        "tokens": plan.tokens,
        "learned": plan.learned,
        "held_out_samples": len(run.held_out),
        "trained_numbers": plan.trained,
        **({"task_experts": run.method.experts} if TASK_EXPERTS in run.settings.targets else {}),
        "recompute": plan.recompute,
        **{f"bytes_of_{name}": size for name, size in plan.memory.items()},
        "bytes": plan.bytes,
        "example": run.example(),
    }


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return "; ".join(f"{name.rstrip('.')}: {', '.join(map(str, ids))}" for name, ids in value.items())
    return " → ".join(map(str, value)) if isinstance(value, list) else value
